// A camera in C++ on libzmq's C API alone: sends generated scans, waits for ACK and DONE of each.
// Build: g++ -std=c++17 -O2 examples/camera.cpp -lzmq -o camera      Run: ./camera ENDPOINT RECIPE [PARTS [SECRET_FILE SERVER_FILE]]
// The last two are needed over tcp: cpp-camera.key_secret of its own, and the station's public NAME.key, as `mdss keygen` makes them.
#include <zmq.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int kHeight = 128, kWidth = 160;
constexpr int kPatienceMs = 60000;
using Parts = std::vector<std::string>;

struct Scan {
    std::string rgb;  // kHeight x kWidth x 3 bytes
    std::string xyz;  // kHeight x kWidth x 3 little-endian float32, millimetres, NaN where nothing was measured
};

Scan make_scan(int number) {
    std::vector<float> points;
    std::string rgb;
    for (int row = 0; row < kHeight; ++row) {
        for (int column = 0; column < kWidth; ++column) {
            const bool on_part = std::abs(row - 64) < 32 && std::abs(column - 80) < 40;
            const bool missing = (row + column + number) % 97 == 0;
            const float hole = std::numeric_limits<float>::quiet_NaN();
            points.push_back(missing ? hole : column * 0.5f);
            points.push_back(missing ? hole : row * 0.5f);
            points.push_back(missing ? hole : (on_part ? 480.0f : 500.0f));
            rgb.append(3, static_cast<char>(on_part ? 140 : 60));
        }
    }
    return {rgb, std::string(reinterpret_cast<const char *>(points.data()), points.size() * sizeof(float))};
}

std::string frame_header(const std::string &frame_id, int number, const std::string &recipe) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const long long now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    return "{\"schema\":\"mdss.frame.v1\",\"source_id\":\"cpp-camera\",\"sequence\":" + std::to_string(number) +
           ",\"frame_id\":\"" + frame_id + "\",\"part_id\":\"part-" + std::to_string(number) + "\",\"recipe_id\":\"" + recipe +
           "\",\"capture_time\":" + std::to_string(now_ns) + ",\"rgb\":{\"pixel_format\":\"RGB8\",\"height\":" + std::to_string(kHeight) +
           ",\"width\":" + std::to_string(kWidth) +
           "},\"xyz\":{\"pixel_format\":\"Coord3D_ABC32f\",\"unit\":\"mm\",\"invalid\":{\"kind\":\"nan\"}},\"is_simulated\":true}";
}

void send_parts(void *socket, const Parts &parts) {
    for (size_t index = 0; index < parts.size(); ++index) {
        const int flags = index + 1 < parts.size() ? ZMQ_SNDMORE : 0;
        if (zmq_send(socket, parts[index].data(), parts[index].size(), flags) < 0) {
            std::fprintf(stderr, "camera: cannot send: %s\n", zmq_strerror(zmq_errno()));
            std::exit(1);
        }
    }
}

// Returns nothing when the station stays silent for timeout_ms.
Parts receive_parts(void *socket, int timeout_ms) {
    Parts parts;
    zmq_pollitem_t item{socket, 0, ZMQ_POLLIN, 0};
    if (zmq_poll(&item, 1, timeout_ms) <= 0) return parts;
    int more = 1;
    while (more) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, socket, 0) < 0) return parts;
        parts.emplace_back(static_cast<char *>(zmq_msg_data(&message)), zmq_msg_size(&message));
        more = zmq_msg_more(&message);
        zmq_msg_close(&message);
    }
    return parts;
}

// Reads a text or a whole number out of a flat JSON object; enough for the station's short headers.
std::string field(const std::string &json, const std::string &name) {
    const size_t at = json.find("\"" + name + "\":");
    if (at == std::string::npos) return "";
    size_t from = at + name.size() + 3;
    while (from < json.size() && json[from] == ' ') ++from;
    if (json[from] == '"') return json.substr(from + 1, json.find('"', from + 1) - from - 1);
    return json.substr(from, json.find_first_of(",}", from) - from);
}

// Reads one key, 40 characters between quotes, out of a certificate.
std::string key_in(const char *path, const std::string &name) {
    std::ifstream file(path);
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::string before = name + " = \"";
    const size_t at = text.find(before);
    if (at == std::string::npos || text.size() < at + before.size() + 40) {
        std::fprintf(stderr, "camera: %s: found no %s, expected a certificate\n", path, name.c_str());
        std::exit(1);
    }
    return text.substr(at + before.size(), 40);
}

void set_key(void *socket, int option, const std::string &key) { zmq_setsockopt(socket, option, key.c_str(), key.size() + 1); }

class Camera {
  public:
    Camera(void *socket, std::string recipe, int parts) : socket_(socket), recipe_(std::move(recipe)), parts_(parts) {}

    int run() {
        send_parts(socket_, {"MDSS1", "HELLO", "{\"source_id\":\"cpp-camera\",\"schema\":\"mdss.frame.v1\"}"});
        int silent_ms = 0;
        while (finished_ < parts_ && silent_ms < kPatienceMs) {
            while (sent_ < parts_ && sent_ - finished_ < credit_) send_next();
            const Parts answer = receive_parts(socket_, 1000);
            silent_ms = answer.empty() ? silent_ms + 1000 : 0;
            if (answer.empty()) send_parts(socket_, {"MDSS1", "PING", "{\"source_id\":\"cpp-camera\"}"});
            if (answer.size() >= 3) take(answer[1], answer[2]);
        }
        send_parts(socket_, {"MDSS1", "EOS", "{\"source_id\":\"cpp-camera\"}"});
        std::printf("%d sent, %d acknowledged, %d done, %d refused\n", sent_, int(acknowledged_.size()), int(done_.size()), refused_);
        return int(done_.size()) == parts_ && int(acknowledged_.size()) == parts_ ? 0 : 1;
    }

  private:
    void send_next() {
        const std::string frame_id = run_id_ + "-" + std::to_string(sent_);
        const Scan scan = make_scan(sent_);
        send_parts(socket_, {"MDSS1", "FRAME", frame_header(frame_id, sent_, recipe_), scan.rgb, scan.xyz});
        ++sent_;
    }

    void take(const std::string &kind, const std::string &header) {
        if (kind == "CREDIT") credit_ = std::atoi(field(header, "credit").c_str());
        if (kind == "ACK") acknowledged_.insert(field(header, "frame_id"));
        if (kind == "DONE" && done_.insert(field(header, "frame_id")).second) ++finished_;
        if (kind == "NACK") {
            std::fprintf(stderr, "camera: refused: %s\n", header.c_str());
            ++refused_, ++finished_;
        }
    }

    void *socket_;
    std::string recipe_;
    int parts_;
    std::string run_id_ = std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
    int credit_ = 0, sent_ = 0, finished_ = 0, refused_ = 0;
    std::set<std::string> acknowledged_, done_;
};

}  // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::fprintf(stderr, "usage: camera ENDPOINT RECIPE [PARTS [SECRET_FILE SERVER_FILE]]\n");
        return 2;
    }
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_DEALER);
    const int linger_ms = 200;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (count > 5) {
        set_key(socket, ZMQ_CURVE_PUBLICKEY, key_in(arguments[4], "public-key"));
        set_key(socket, ZMQ_CURVE_SECRETKEY, key_in(arguments[4], "secret-key"));
        set_key(socket, ZMQ_CURVE_SERVERKEY, key_in(arguments[5], "public-key"));
    }
    if (zmq_connect(socket, arguments[1]) != 0) {
        std::fprintf(stderr, "camera: cannot connect to %s: %s\n", arguments[1], zmq_strerror(zmq_errno()));
        return 1;
    }
    const int code = Camera(socket, arguments[2], count > 3 ? std::atoi(arguments[3]) : 10).run();
    zmq_close(socket);
    zmq_ctx_term(context);
    return code;
}
