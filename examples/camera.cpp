// A camera in C++ on libzmq's C API alone. It sends generated scans and keeps each until its DONE, to send it again when the station was
// busy or was started again.
// Build: g++ -std=c++17 -O2 examples/camera.cpp -lzmq -o camera      Run: ./camera ENDPOINT RECIPE [PARTS [SECRET_FILE SERVER_FILE]]
// Over tcp the last two are needed: the camera's own cpp-camera.key_secret and the station's public NAME.key. `mdss keygen` makes both.
#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#ifndef PATIENCE_MS
#define PATIENCE_MS 60000  // to wait for a new ACK, DONE or refusal; an answer to PING is no progress
#endif

namespace {

constexpr int kHeight = 128, kWidth = 160;
constexpr int kPollMs = 100;
constexpr int kRetryMs = 200;  // to wait before frames that were refused for now are sent again
using Parts = std::vector<std::string>;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

Clock::duration since(Clock::time_point then) { return Clock::now() - then; }

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

// Never waits. Returns false where there is no room, or no connection any more: libzmq gives up one that the station has refused.
bool send_parts(void *socket, const Parts &parts) {
    for (size_t index = 0; index < parts.size(); ++index) {
        const int flags = ZMQ_DONTWAIT | (index + 1 < parts.size() ? ZMQ_SNDMORE : 0);
        if (zmq_send(socket, parts[index].data(), parts[index].size(), flags) >= 0) continue;
        if (zmq_errno() == EAGAIN) return false;
        std::fprintf(stderr, "camera: cannot send: %s\n", zmq_strerror(zmq_errno()));
        std::exit(1);
    }
    return true;
}

// Returns an empty message when the station stays silent for timeout_ms.
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

// Reads a text or a whole number from a flat JSON object; that is enough for the station's short headers.
std::string field(const std::string &json, const std::string &name) {
    const size_t at = json.find("\"" + name + "\":");
    if (at == std::string::npos) return "";
    size_t from = at + name.size() + 3;
    while (from < json.size() && json[from] == ' ') ++from;
    if (json[from] == '"') return json.substr(from + 1, json.find('"', from + 1) - from - 1);
    return json.substr(from, json.find_first_of(",}", from) - from);
}

// Reads one key, 40 characters between quotes, from a certificate.
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

// A frame is kept until the station says DONE or refuses it for good: a station that was started again needs it once more.
struct Frame {
    std::string id;
    Parts parts;
    bool waits;  // to be sent, or to be sent again
};

class Camera {
  public:
    Camera(std::function<void *()> connect, std::string recipe, int parts)
        : connect_(std::move(connect)), recipe_(std::move(recipe)), parts_(parts) {}

    int run() {
        open();
        while (done_ + refused_ < parts_ && since(progress_) < milliseconds(PATIENCE_MS)) {
            transmit();
            beat();
            const Parts answer = receive_parts(socket_, kPollMs);
            if (answer.size() < 3) continue;
            has_asked_ = false;
            take(answer[1], answer[2]);
        }
        if (done_ + refused_ < parts_)
            std::fprintf(stderr, "camera: nothing got on for %d ms, %d frames have no verdict%s%s\n", PATIENCE_MS, int(kept_.size()),
                         put_off_.empty() ? "" : "; last refused for now: ", put_off_.c_str());
        say("EOS");
        zmq_close(socket_);
        std::printf("%d sent, %d acknowledged, %d done, %d refused\n", made_, int(acknowledged_.size()), done_, refused_);
        return done_ == parts_ && int(acknowledged_.size()) == parts_ ? 0 : 1;
    }

  private:
    void open() {
        socket_ = connect_();
        hello();
    }

    // Every frame without DONE goes out again, oldest first, once credit comes.
    void hello() {
        credit_ = 0;
        for (Frame &frame : kept_) frame.waits = true;
        send_parts(socket_, {"MDSS1", "HELLO", "{\"source_id\":\"cpp-camera\",\"schema\":\"mdss.frame.v1\"}"});
        ask();
    }

    void say(const std::string &kind) { send_parts(socket_, {"MDSS1", kind, "{\"source_id\":\"cpp-camera\"}"}); }

    void ask() {
        if (!has_asked_) asked_ = Clock::now();
        has_asked_ = true;
        pinged_ = Clock::now();
    }

    // Over a slow link an answer waits behind the frames, so each megabyte allows one second more.
    milliseconds patience() const {
        size_t bytes = 0;
        for (const Frame &frame : kept_)
            for (const std::string &part : frame.parts) bytes += frame.waits ? 0 : part.size();
        return heartbeat_ * liveness_ + milliseconds(bytes / 1000);
    }

    // A silent connection may be dead unnoticed, so it is made anew.
    void beat() {
        if (has_asked_ && since(asked_) > patience()) {
            const int linger_ms = 0;
            zmq_setsockopt(socket_, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
            zmq_close(socket_);
            has_asked_ = false;
            open();
        } else if (since(pinged_) >= heartbeat_) {
            say("PING");
            ask();
        }
    }

    // Credit is how many frames may be sent and unanswered. Frames that are sent again go first.
    void transmit() {
        int outstanding = int(std::count_if(kept_.begin(), kept_.end(), [](const Frame &frame) { return !frame.waits; }));
        while (outstanding < credit_ && Clock::now() >= paused_until_) {
            auto next = std::find_if(kept_.begin(), kept_.end(), [](const Frame &frame) { return frame.waits; });
            if (next == kept_.end()) {
                if (made_ == parts_) return;
                next = kept_.insert(next, make_frame());
            }
            if (!send_parts(socket_, next->parts)) return;
            next->waits = false;
            ++outstanding;
        }
    }

    Frame make_frame() {
        const std::string frame_id = run_id_ + "-" + std::to_string(made_);
        const Scan scan = make_scan(made_);
        const std::string header = frame_header(frame_id, made_, recipe_);
        ++made_;
        return {frame_id, {"MDSS1", "FRAME", header, scan.rgb, scan.xyz}, true};
    }

    void take(const std::string &kind, const std::string &header) {
        if (kind == "CREDIT") take_credit(header);
        if (kind == "PONG" && (field(header, "is_known") != "true" || field(header, "boot_id") != boot_id_)) hello();
        if (kind == "ACK" && acknowledged_.insert(field(header, "frame_id")).second) progress_ = Clock::now();
        if (kind == "DONE" && forget(field(header, "frame_id"))) ++done_;
        if (kind == "NACK") take_refusal(field(header, "frame_id"), field(header, "code"), header);
    }

    void take_credit(const std::string &header) {
        credit_ = std::atoi(field(header, "credit").c_str());
        boot_id_ = field(header, "boot_id");
        heartbeat_ = milliseconds(std::atoi(field(header, "heartbeat_ms").c_str()));
        liveness_ = std::atoi(field(header, "liveness").c_str());
    }

    // BUSY, DRAINING and NOT_READY are refusals for now: the same frame is sent again a little later.
    void take_refusal(const std::string &frame_id, const std::string &code, const std::string &header) {
        if (code == "BUSY" || code == "DRAINING" || code == "NOT_READY") {
            for (Frame &frame : kept_) frame.waits = frame.waits || frame.id == frame_id;
            paused_until_ = Clock::now() + milliseconds(kRetryMs);
            put_off_ = header;
            return;
        }
        std::fprintf(stderr, "camera: refused: %s\n", header.c_str());
        if (frame_id.empty()) std::exit(1);  // it was no frame that was refused, but this camera
        if (forget(frame_id)) ++refused_;
    }

    bool forget(const std::string &frame_id) {
        const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Frame &frame) { return frame.id == frame_id; });
        if (found == kept_.end()) return false;
        kept_.erase(found);
        progress_ = Clock::now();
        return true;
    }

    std::function<void *()> connect_;
    void *socket_ = nullptr;
    std::string recipe_, boot_id_, put_off_;  // the last one: what the station said when it could not take a frame yet
    int parts_;
    std::string run_id_ = std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
    int credit_ = 0, made_ = 0, done_ = 0, refused_ = 0;
    std::deque<Frame> kept_;  // oldest first
    std::set<std::string> acknowledged_;
    milliseconds heartbeat_{1000};
    int liveness_ = 3;
    bool has_asked_ = false;  // whether it has asked and heard nothing since
    Clock::time_point asked_, pinged_, paused_until_, progress_ = Clock::now();
};

void *connected(void *context, int count, char **arguments) {
    void *socket = zmq_socket(context, ZMQ_DEALER);
    const int linger_ms = 200, is_ipv6 = std::strchr(arguments[1], '[') != nullptr;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_IPV6, &is_ipv6, sizeof is_ipv6);
    if (count > 5) {
        set_key(socket, ZMQ_CURVE_PUBLICKEY, key_in(arguments[4], "public-key"));
        set_key(socket, ZMQ_CURVE_SECRETKEY, key_in(arguments[4], "secret-key"));
        set_key(socket, ZMQ_CURVE_SERVERKEY, key_in(arguments[5], "public-key"));
    }
    if (zmq_connect(socket, arguments[1]) != 0) {
        std::fprintf(stderr, "camera: cannot connect to %s: %s\n", arguments[1], zmq_strerror(zmq_errno()));
        std::exit(1);
    }
    return socket;
}

}  // namespace

int main(int count, char **arguments) {
    if (count < 3 || count == 5 || count > 6) {  // with one of the two files alone the connection would have no keys
        std::fprintf(stderr, "usage: camera ENDPOINT RECIPE [PARTS [SECRET_FILE SERVER_FILE]]\n");
        return 2;
    }
    void *context = zmq_ctx_new();
    const int parts = count > 3 ? std::atoi(arguments[3]) : 10;
    const int code = Camera([&] { return connected(context, count, arguments); }, arguments[2], parts).run();
    zmq_ctx_term(context);
    return code;
}
