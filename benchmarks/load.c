/* The load generator: epoll, non-blocking, one thread, both ends of every tunnel.
 *   load PORT ADDRESSES       listens on PORT (0: any) of 127.0.1.1 to 127.0.1.ADDRESSES, then obeys stdin
 *                             (commands.c) until that ends.
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 64

struct job job;
struct conn near_list = {.next = &near_list, .previous = &near_list};
struct conn far_list = {.next = &far_list, .previous = &far_list};
int near_count, far_count;
unsigned char pattern[DISCARD_BYTES + PERIOD];

static int main_epoll, bulk_epoll;
static struct conn *buried;

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

struct conn *conn_new(enum kind kind, enum state state, int fd, uint32_t events) {
    struct conn *c = calloc(1, sizeof *c), *list = kind == NEAR ? &near_list : &far_list;
    c->kind = kind;
    c->state = state;
    c->fd = fd;
    c->epoll = -1;
    c->next = c->previous = c;
    if (kind == NEAR || kind == FAR) {
        c->previous = list->previous;
        c->next = list;
        list->previous->next = c;
        list->previous = c;
        *(kind == NEAR ? &near_count : &far_count) += 1;
    }
    conn_watch(c, events, false);
    return c;
}

/* The memory lives on until the end of this turn: an event of it may still be in hand. */
void conn_close(struct conn *c) {
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    c->previous->next = c->next;
    c->next->previous = c->previous;
    *(c->kind == NEAR ? &near_count : &far_count) -= 1;
    c->previous = buried; /* `next` stays: somebody may be walking the ring */
    buried = c;
}

void conn_watch(struct conn *c, uint32_t events, bool bulk) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    int wanted = events ? (bulk ? bulk_epoll : main_epoll) : -1;
    if (c->epoll >= 0 && c->epoll != wanted)
        epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    if (wanted >= 0)
        epoll_ctl(wanted, c->epoll == wanted ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event);
    c->epoll = wanted;
}

bool send_whole(struct conn *c, const void *data, size_t size) {
    return send(c->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

long bulk_send(struct conn *c) {
    size_t room = job.work == WORK_MIXED ? POLITE_BYTES : SEND_BYTES;
    ssize_t sent = send(c->fd, pattern + c->offset % PERIOD, c->left < room ? c->left : room, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN ? 0 : -1;
    c->left -= sent;
    c->offset += sent;
    return sent;
}

/* MSG_TRUNC throws the bytes away inside the kernel: the sink must not be the limit. */
long bulk_receive(struct conn *c) {
    static unsigned char buffer[DISCARD_BYTES];
    size_t room = c->left < DISCARD_BYTES ? c->left : DISCARD_BYTES;
    ssize_t got = recv(c->fd, job.verify ? buffer : NULL, room, job.verify ? 0 : MSG_TRUNC);
    if (got < 0)
        return errno == EAGAIN ? 0 : -1;
    errno = 0;
    if (got == 0)
        return -1;
    if (job.verify && memcmp(buffer, pattern + c->offset % PERIOD, got)) {
        fail("wrong bytes after %llu good ones", (unsigned long long)c->offset);
        return 0;
    }
    c->left -= got;
    c->offset += got;
    return got;
}

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

void close_near(bool kept) {
    for (struct conn *c = near_list.next, *next; c != &near_list; c = next) {
        next = c->next;
        if (c->is_kept == kept)
            conn_close(c);
    }
}

void fail(const char *format, ...) {
    char words[400];
    va_list arguments;
    if (job.failed)
        return;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    job.failed = true;
    job.phase = DONE;
    close_near(false);
    say("{\"error\": \"%s\"}", words);
}

static void dispatch(struct epoll_event *event) {
    struct conn *c = event->data.ptr;
    uint64_t expirations;
    if (c->fd < 0)
        return;
    switch (c->kind) {
    case FAR_LISTENER: far_accept(c); return;
    case FAR: far_event(c, event->events); return;
    case NEAR: near_event(c, event->events); return;
    case COMMANDS: read_commands(); return;
    case TICK:
        if (read(c->fd, &expirations, sizeof expirations) > 0 && job.phase == RUNNING)
            near_tick();
        return;
    case BULK: /* a few turns only, so that what waits in the main epoll is never far behind */
        break;
    }
    struct epoll_event events[16];
    int count = epoll_wait(bulk_epoll, events, job.work == WORK_MIXED ? 1 : 16, 0);
    for (int i = 0; i < count; i++)
        dispatch(&events[i]);
}

static void after_turn(void) {
    commands_after_turn();
    for (struct conn *c; (c = buried);) {
        buried = c->previous;
        free(c);
    }
}

int main(int count, char **arguments) {
    static struct conn commands = {.kind = COMMANDS, .fd = 0, .epoll = -1}, bulk = {.kind = BULK, .epoll = -1};
    struct epoll_event events[EVENTS];
    if (count != 3) {
        fprintf(stderr, "usage: load PORT ADDRESSES\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = i % PERIOD;
    main_epoll = epoll_create1(EPOLL_CLOEXEC);
    bulk_epoll = bulk.fd = epoll_create1(EPOLL_CLOEXEC);
    conn_watch(&bulk, EPOLLIN, false);
    conn_watch(&commands, EPOLLIN, false);
    say("{\"port\": %d}", far_listen(atoi(arguments[1]), atoi(arguments[2])));
    for (;;) {
        int found = epoll_wait(main_epoll, events, EVENTS, job.phase == IDLE || job.phase == READY ? -1 : 20);
        for (int i = 0; i < found; i++)
            dispatch(&events[i]);
        after_turn();
    }
}
