/* The load generator's parts. One thread holds both ends of every tunnel:
 *   near.c  the client's end: opens tunnels and runs the workloads
 *   far.c   the target's end: a source, a sink and an echo, on one port
 *   commands.c  what stdin asks for, and the results on stdout
 *   load.c  epoll, and what both ends need
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PERIOD 251                /* prime, so that a lost or repeated block shows in the pattern */
#define SEND_BYTES (256 * 1024)   /* one send of a bulk source */
#define POLITE_BYTES (64 * 1024)  /* the same while latency is measured: our own turns must stay short */
#define DISCARD_BYTES (1 << 20)   /* one recv of a bulk sink */

enum kind { FAR_LISTENER, FAR, NEAR, TICK, BULK, COMMANDS };

enum state {
    /* the far end waits for a mode: W echo one byte, E echo all, D u64 send so many, U u64 swallow so many */
    FAR_MODE, FAR_COUNT, FAR_ECHO, FAR_SEND, FAR_SWALLOW, FAR_LAST,
    NEAR_CONNECT, NEAR_HEAD, NEAR_WARM, NEAR_READY, NEAR_RUN, NEAR_LAST_BYTE, NEAR_CLOSING
};

struct conn {
    enum kind kind;
    enum state state;
    int fd;                   /* -1: closed, freed after this turn */
    int epoll;                /* where it is registered, or -1 */
    bool is_stream;           /* carries bulk */
    bool is_kept;             /* an idle tunnel of an earlier command */
    bool is_waiting;          /* a message is under way */
    unsigned char mode, match, held, head[12];
    uint32_t got, rounds;
    uint64_t left, offset;    /* of a bulk stream, in bytes */
    uint64_t began_ns;
    struct conn *next, *previous;
};

enum work { WORK_NONE, WORK_BULK, WORK_RTT, WORK_MIXED, WORK_SETUP, WORK_HOLD };
enum phase { IDLE, OPENING, READY, RUNNING, DONE, ENDING };

/* What one command asks for, and how far it is. */
struct job {
    enum work work;
    enum phase phase;
    char via[64], target[64], direction, messages_path[512];
    int via_port, connect, warm, verify;
    uint64_t conns, bulk_conns, at_once, count, size, bytes, milliseconds, lead_milliseconds, gap_microseconds;
    uint64_t seconds;
    uint64_t opening, ready, done, started, resets, moved, tick;
    uint64_t began_ns, ended_ns, deadline_ns;
    uint32_t *latencies;
    uint64_t latency_count, latency_room;
    double slowest_share;
    bool failed;
};

extern struct job job;
extern struct conn near_list, far_list;   /* heads of rings */
extern int near_count, far_count;
extern unsigned char pattern[];
extern const char *messages;

uint64_t now_ns(void);
struct conn *conn_new(enum kind kind, enum state state, int fd, uint32_t events);
void conn_close(struct conn *c);
void conn_watch(struct conn *c, uint32_t events, bool bulk);
bool send_whole(struct conn *c, const void *data, size_t size);
/* One turn of a bulk stream: bytes moved, 0 nothing now, -1 end or error (errno, 0 at the end). */
long bulk_send(struct conn *c);
long bulk_receive(struct conn *c);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void close_near(bool kept);

void read_commands(void);
void commands_after_turn(void);

int far_listen(int port, int addresses);
void far_accept(struct conn *listener);
void far_event(struct conn *c, uint32_t events);

void near_open_more(void);
void near_go(void);
void near_event(struct conn *c, uint32_t events);
void near_tick(void);
void near_check_time(void);

#endif
