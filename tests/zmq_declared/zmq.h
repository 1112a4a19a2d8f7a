// What examples/camera.cpp calls of libzmq 4, to build it where libzmq's own header is not installed.
#pragma once
#include <errno.h>
#include <stddef.h>

#define ZMQ_DEALER 5
#define ZMQ_LINGER 17
#define ZMQ_IPV6 42
#define ZMQ_CURVE_PUBLICKEY 48
#define ZMQ_CURVE_SECRETKEY 49
#define ZMQ_CURVE_SERVERKEY 50
#define ZMQ_DONTWAIT 1
#define ZMQ_SNDMORE 2
#define ZMQ_POLLIN 1

extern "C" {
typedef union {
    unsigned char bytes[64];
    void *alignment;
} zmq_msg_t;

typedef struct {
    void *socket;
    int fd;
    short events;
    short revents;
} zmq_pollitem_t;

int zmq_errno(void);
const char *zmq_strerror(int number);

void *zmq_ctx_new(void);
int zmq_ctx_term(void *context);

void *zmq_socket(void *context, int kind);
int zmq_setsockopt(void *socket, int option, const void *value, size_t size);
int zmq_connect(void *socket, const char *endpoint);
int zmq_send(void *socket, const void *bytes, size_t size, int flags);
int zmq_poll(zmq_pollitem_t *items, int count, long timeout_ms);
int zmq_close(void *socket);

int zmq_msg_init(zmq_msg_t *message);
int zmq_msg_recv(zmq_msg_t *message, void *socket, int flags);
void *zmq_msg_data(zmq_msg_t *message);
size_t zmq_msg_size(zmq_msg_t *message);
int zmq_msg_more(const zmq_msg_t *message);
int zmq_msg_close(zmq_msg_t *message);
}
