/* The client's end: opens tunnels (TCP, CONNECT, one byte there and back) and runs one workload over them. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void finish(void) {
    job.ended_ns = now_ns();
    job.phase = DONE;
}

static void open_one(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(job.via_port)};
    inet_pton(AF_INET, job.via, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) {
        fail("socket: %s", strerror(errno));
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct conn *c = conn_new(NEAR, NEAR_CONNECT, fd, EPOLLOUT);
    c->began_ns = now_ns();
    c->is_stream = job.work == WORK_BULK || job.started < job.bulk_conns;
    job.opening++;
    job.started++;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
}

void near_open_more(void) {
    uint64_t wanted = job.work == WORK_SETUP ? job.count : job.conns + job.bulk_conns;
    while (!job.failed && job.started < wanted && job.opening < job.at_once)
        open_one();
}

static void record(uint64_t nanoseconds) {
    if (job.latency_count < job.latency_room)
        job.latencies[job.latency_count++] = nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

static void send_message(struct conn *c) {
    static const char zeros[65536];
    const char *message = messages ? messages + c->rounds * job.size : zeros;
    c->began_ns = now_ns();
    c->is_waiting = true;
    if (!send_whole(c, message, job.size))
        fail("a message of %llu bytes could not be sent: %s", (unsigned long long)job.size, strerror(errno));
}

static void start_bulk(struct conn *c, char direction, uint64_t bytes) {
    unsigned char order[9] = {direction};
    for (int i = 0; i < 8; i++)
        order[1 + i] = bytes >> (56 - 8 * i);
    c->left = bytes;
    c->offset = 0;
    c->mode = direction;
    if (!send_whole(c, order, sizeof order)) {
        fail("an order could not be sent: %s", strerror(errno));
        return;
    }
    conn_watch(c, direction == 'D' ? EPOLLIN : EPOLLOUT, true);
}

/* All tunnels stand: begin what is measured. */
void near_go(void) {
    job.phase = RUNNING;
    job.began_ns = now_ns();
    job.deadline_ns = job.began_ns + job.seconds * 1000000000ull;
    if (job.work == WORK_SETUP) {
        near_open_more();
        return;
    }
    for (struct conn *c = near_list.next; c != &near_list && !job.failed; c = c->next) {
        if (c->is_kept || c->fd < 0)
            continue;
        c->state = NEAR_RUN;
        if (c->is_stream)
            start_bulk(c, job.direction, job.bytes);
        else if (job.work == WORK_RTT)
            send_message(c);
    }
}

/* A tunnel stands and carried a byte each way (or, without `warm`, is connected). */
static void is_ready(struct conn *c) {
    c->state = NEAR_READY;
    job.opening--;
    job.ready++;
    near_open_more();
}

static void speak(struct conn *c) {
    if (job.warm) {
        c->state = NEAR_WARM;
        if (!send_whole(c, c->is_stream ? "W" : "E", 1))
            fail("the first byte could not be sent: %s", strerror(errno));
    } else {
        is_ready(c);
    }
}

static void connected(struct conn *c) {
    int error = 0;
    socklen_t length = sizeof error;
    char head[256];
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        fail("connect: %s", strerror(error));
        return;
    }
    conn_watch(c, EPOLLIN, false);
    if (!job.connect) {
        speak(c);
        return;
    }
    int size = snprintf(head, sizeof head, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", job.target, job.target);
    c->state = NEAR_HEAD;
    if (!send_whole(c, head, size))
        fail("the request could not be sent: %s", strerror(errno));
}

static void read_head(struct conn *c) {
    char buffer[4096];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            fail("no reply to CONNECT: %s", got ? strerror(errno) : "the connection was closed");
        return;
    }
    for (ssize_t i = 0; i < got; i++) {
        if (c->held < sizeof c->head)
            c->head[c->held++] = buffer[i];
        c->match = buffer[i] == "\r\n\r\n"[c->match] ? c->match + 1 : buffer[i] == '\r';
        if (c->match < 4)
            continue;
        if (i + 1 != got)
            fail("%zd bytes came behind the reply before anybody spoke", got - i - 1);
        else if (memcmp(c->head, "HTTP/1.", 7) || memcmp(c->head + 9, "200", 3))
            fail("refused: %.12s", (char *)c->head);
        else
            speak(c);
        return;
    }
}

static void warm_byte(struct conn *c) {
    char byte;
    ssize_t got = recv(c->fd, &byte, 1, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got != 1) {
        fail("the first byte did not come back: %s", got ? strerror(errno) : "closed");
    } else if (job.work == WORK_SETUP) {
        c->state = NEAR_CLOSING;
        shutdown(c->fd, SHUT_WR);
    } else {
        is_ready(c);
    }
}

/* Set-up: the tunnel is down when its end has come through it. */
static void closing(struct conn *c) {
    char byte;
    ssize_t got = recv(c->fd, &byte, 1, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0)
        fail("a byte came after the end");
    job.resets += got < 0;
    record(now_ns() - c->began_ns);
    conn_close(c);
    job.opening--;
    if (++job.done == job.count)
        finish();
    else
        near_open_more();
}

static double share_of_slowest(void) {
    uint64_t least = UINT64_MAX, sum = 0, number = 0;
    for (struct conn *c = near_list.next; c != &near_list; c = c->next)
        if (c->fd >= 0 && !c->is_kept && c->is_stream) {
            least = c->offset < least ? c->offset : least;
            sum += c->offset;
            number++;
        }
    return sum ? (double)least * number / sum : 0;
}

static void bulk_done(void) {
    if (job.done++ == 0)
        job.slowest_share = share_of_slowest();
    if (job.done == job.conns)
        finish();
}

static void bulk_event(struct conn *c) {
    char byte;
    if (c->state == NEAR_LAST_BYTE) {
        ssize_t got = recv(c->fd, &byte, 1, 0);
        if (got == 1)
            bulk_done();
        else if (got == 0 || errno != EAGAIN)
            fail("the sink's answer did not come: %s", got ? strerror(errno) : "closed");
        return;
    }
    long moved = c->mode == 'D' ? bulk_receive(c) : bulk_send(c);
    if (moved < 0) {
        fail("a tunnel broke, %llu bytes short: %s", (unsigned long long)c->left, errno ? strerror(errno) : "closed");
        return;
    }
    job.moved += moved;
    if (c->left)
        return;
    if (c->mode == 'U') {
        c->state = NEAR_LAST_BYTE;
        conn_watch(c, EPOLLIN, false);
    } else {
        conn_watch(c, 0, false);
        bulk_done();
    }
}

static void answer(struct conn *c) {
    static char buffer[65536];
    ssize_t got = recv(c->fd, buffer, job.size - c->got, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            fail("a tunnel broke after %u round trips: %s", c->rounds, got ? strerror(errno) : "closed");
        return;
    }
    c->got += got;
    if (c->got < job.size)
        return;
    c->got = 0;
    c->is_waiting = false;
    uint64_t now = now_ns();
    if (job.work == WORK_RTT || c->began_ns >= job.began_ns + job.lead_milliseconds * 1000000)
        record(now - c->began_ns);
    c->rounds++;
    if (job.work != WORK_RTT)
        return;
    if (c->rounds < job.count)
        send_message(c);
    else if (++job.done == job.conns)
        finish();
}

/* Mixed: small messages go out at fixed times, tunnel after tunnel; one at a time on each. */
void near_tick(void) {
    uint64_t number = 0, chosen = job.bulk_conns + job.tick++ % job.conns;
    for (struct conn *c = near_list.next; c != &near_list; c = c->next)
        if (c->fd >= 0 && !c->is_kept && number++ == chosen && !c->is_waiting) {
            send_message(c);
            return;
        }
}

void near_check_time(void) {
    uint64_t now = now_ns();
    if (job.work == WORK_MIXED && job.phase == RUNNING && now >= job.began_ns + job.milliseconds * 1000000) {
        job.slowest_share = share_of_slowest();
        finish();
    }
    if ((job.phase == OPENING || job.phase == RUNNING) && now > job.deadline_ns)
        fail("not done within %llu s: %llu opening, %llu ready, %llu done, %llu bytes", (unsigned long long)job.seconds,
             (unsigned long long)job.opening, (unsigned long long)job.ready, (unsigned long long)job.done,
             (unsigned long long)job.moved);
}

void near_event(struct conn *c, uint32_t events) {
    (void)events;
    switch (c->state) {
    case NEAR_CONNECT: connected(c); return;
    case NEAR_HEAD: read_head(c); return;
    case NEAR_WARM: warm_byte(c); return;
    case NEAR_CLOSING: closing(c); return;
    case NEAR_RUN:
    case NEAR_LAST_BYTE:
        if (job.phase != RUNNING)
            conn_watch(c, 0, false); /* over: a bulk tunnel that still has bytes must not keep us awake */
        else if (c->is_stream)
            bulk_event(c);
        else
            answer(c);
        return;
    default: /* an idle tunnel has nothing to say but its end */
        if (c->is_kept)
            conn_close(c);
        else
            fail("a tunnel closed before it was used");
    }
}
