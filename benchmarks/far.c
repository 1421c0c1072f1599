/* The target's end: what a tunnel is connected to. The first byte of a connection says what it does (load.h). */
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

/* Listen on one port of 127.0.1.1, 127.0.1.2, ...: an address for each peer, so that each has ports of its own. */
int far_listen(int port, int addresses) {
    for (int i = 1; i <= addresses; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl(0x7f000100 + i);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) {
            perror("load: cannot listen");
            exit(1);
        }
        socklen_t length = sizeof address;
        getsockname(fd, (struct sockaddr *)&address, &length);
        port = ntohs(address.sin_port);
        conn_new(FAR_LISTENER, FAR_MODE, fd, EPOLLIN);
    }
    return port;
}

void far_accept(struct conn *listener) {
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        conn_new(FAR, FAR_MODE, fd, EPOLLIN);
    }
}

static void echo(struct conn *c) {
    static char buffer[65536];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got > 0 && send_whole(c, buffer, got))
        return;
    if (got < 0 && errno == EAGAIN)
        return;
    conn_close(c);
}

static void begin_bulk(struct conn *c) {
    c->offset = 0;
    c->left = 0;
    for (int i = 0; i < 8; i++)
        c->left = c->left << 8 | c->head[i];
    c->state = c->mode == 'D' ? FAR_SEND : FAR_SWALLOW;
    conn_watch(c, c->mode == 'D' ? EPOLLOUT : EPOLLIN, true);
}

/* Never reads beyond the mode and its count: what follows belongs to the stream. */
static void read_mode(struct conn *c) {
    ssize_t got = c->state == FAR_MODE ? recv(c->fd, &c->mode, 1, 0) : recv(c->fd, c->head + c->held, 8 - c->held, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            conn_close(c);
        return;
    }
    if (c->state == FAR_COUNT) {
        c->held += got;
        if (c->held == 8)
            begin_bulk(c);
        return;
    }
    switch (c->mode) {
    case 'E':
        c->state = FAR_ECHO; /* fall through */
    case 'W':
        if (!send_whole(c, &c->mode, 1))
            conn_close(c);
        return;
    case 'D':
    case 'U':
        c->held = 0;
        c->state = FAR_COUNT;
        read_mode(c);
        return;
    default:
        conn_close(c);
    }
}

void far_event(struct conn *c, uint32_t events) {
    (void)events;
    long moved;
    char byte;
    switch (c->state) {
    case FAR_MODE:
    case FAR_COUNT:
        read_mode(c);
        return;
    case FAR_ECHO:
        echo(c);
        return;
    case FAR_SEND:
        moved = bulk_send(c);
        if (moved < 0) {
            conn_close(c);
        } else if (c->left == 0) {
            c->state = FAR_LAST;
            conn_watch(c, EPOLLIN, false);
        }
        return;
    case FAR_SWALLOW:
        moved = bulk_receive(c);
        if (moved < 0) {
            conn_close(c);
        } else if (c->left == 0) {
            c->state = FAR_LAST;
            conn_watch(c, EPOLLIN, false);
            if (!send_whole(c, "k", 1))
                conn_close(c);
        }
        return;
    default: /* all is said: only the end may come */
        if (recv(c->fd, &byte, 1, 0) >= 0 || errno != EAGAIN)
            conn_close(c);
    }
}
