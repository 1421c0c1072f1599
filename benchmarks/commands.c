/* The commands on stdin, one a line:
 *   bulk|rtt|mixed|setup|hold KEY=VALUE...   opens the tunnels, then says {"ready": ...}
 *   go                        runs the workload, then says its result
 *   end                       closes the tunnels, waits until the far ends are closed too, says {"ended": ...}
 *   keep                      instead of go: leaves the tunnels open and idle;  drop  closes those
 * Every answer is one line of JSON; a failure is {"error": ...}.
 */
#define _GNU_SOURCE
#include "load.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define DRAIN_NS 2000000000ull /* a proxy that has not closed the far ends by then is cut off */

const char *messages;
static size_t messages_size;
static int tick_fd = -1, kept_far;

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t latency_at(double share) {
    return job.latency_count ? job.latencies[(uint64_t)(share * (job.latency_count - 1) + 0.5)] : 0;
}

static void say_result(void) {
    qsort(job.latencies, job.latency_count, sizeof *job.latencies, by_size);
    say("{\"wall_ns\": %llu, \"moved_bytes\": %llu, \"latencies\": %llu, \"p50_ns\": %u, \"p99_ns\": %u, "
        "\"max_ns\": %u, \"resets\": %llu, \"slowest_share\": %.4f}",
        (unsigned long long)(job.ended_ns - job.began_ns), (unsigned long long)job.moved,
        (unsigned long long)job.latency_count, latency_at(0.5), latency_at(0.99), latency_at(1.0),
        (unsigned long long)job.resets, job.slowest_share);
}

static void begin_ending(void) {
    close_near(false);
    job.phase = ENDING;
    job.deadline_ns = now_ns() + DRAIN_NS;
    if (tick_fd >= 0)
        close(tick_fd);
    tick_fd = -1;
}

static void check_ending(void) {
    int cut = 0;
    if (far_count > kept_far && now_ns() < job.deadline_ns)
        return;
    /* Kept tunnels were opened before, so those that are cut here are the last in the ring. */
    for (struct conn *c = far_list.previous, *next; far_count > kept_far && c != &far_list; c = next, cut++) {
        next = c->previous;
        conn_close(c);
    }
    job.phase = IDLE;
    job.work = WORK_NONE;
    say("{\"ended\": true, \"cut_off\": %d}", cut);
}

static void start_tick(void) {
    static struct conn tick = {.kind = TICK};
    uint64_t ns = job.gap_microseconds * 1000 / job.conns;
    struct itimerspec times = {.it_interval = {ns / 1000000000, ns % 1000000000}};
    times.it_value = times.it_interval;
    tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    timerfd_settime(tick_fd, 0, &times, NULL);
    tick.fd = tick_fd;
    tick.epoll = -1;
    conn_watch(&tick, EPOLLIN, false);
}

static void map_messages(void) {
    struct stat about;
    if (messages)
        munmap((void *)messages, messages_size);
    messages = NULL;
    if (!job.messages_path[0])
        return;
    int fd = open(job.messages_path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &about) == 0)
        messages = mmap(NULL, messages_size = about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd < 0 || messages == MAP_FAILED || messages_size < job.size * job.count)
        fail("%s does not hold %llu messages", job.messages_path, (unsigned long long)job.count);
    if (fd >= 0)
        close(fd);
}

static void read_option(const char *key, const char *value) {
    struct { const char *key; uint64_t *number; } numbers[] = {
        {"conns", &job.conns}, {"bulk_conns", &job.bulk_conns}, {"at_once", &job.at_once}, {"count", &job.count},
        {"size", &job.size}, {"bytes", &job.bytes}, {"milliseconds", &job.milliseconds},
        {"lead_milliseconds", &job.lead_milliseconds}, {"gap_microseconds", &job.gap_microseconds},
        {"seconds", &job.seconds},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key))
            *numbers[i].number = strtoull(value, NULL, 10);
    if (!strcmp(key, "via"))
        sscanf(value, "%63[^:]:%d", job.via, &job.via_port);
    else if (!strcmp(key, "target"))
        snprintf(job.target, sizeof job.target, "%s", value);
    else if (!strcmp(key, "messages"))
        snprintf(job.messages_path, sizeof job.messages_path, "%s", value);
    else if (!strcmp(key, "direction"))
        job.direction = value[0];
    else if (!strcmp(key, "connect"))
        job.connect = atoi(value);
    else if (!strcmp(key, "warm"))
        job.warm = atoi(value);
    else if (!strcmp(key, "verify"))
        job.verify = atoi(value);
}

static void begin(enum work work, char *options) {
    uint32_t *latencies = job.latencies;
    job = (struct job){.work = work, .phase = OPENING, .at_once = 16, .conns = work != WORK_SETUP, .size = 1,
                       .warm = 1, .direction = 'D', .bytes = UINT64_MAX, .seconds = 20};
    for (char *word = strtok(options, " "); word; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        if (value) {
            *value++ = 0;
            read_option(word, value);
        }
    }
    job.latency_room = work == WORK_RTT ? job.conns * job.count : work == WORK_SETUP ? job.count : 1000000;
    job.latencies = realloc(latencies, (job.latency_room + 1) * sizeof *latencies);
    job.deadline_ns = now_ns() + job.seconds * 1000000000ull;
    map_messages();
    if (!job.failed && work != WORK_SETUP)
        near_open_more();
}

static void keep(void) {
    for (struct conn *c = near_list.next; c != &near_list; c = c->next)
        c->is_kept = true;
    kept_far = far_count;
    job.phase = IDLE;
    say("{\"kept\": %d}", near_count);
}

static void obey(char *line) {
    static const struct { const char *name; enum work work; } works[] = {
        {"bulk", WORK_BULK}, {"rtt", WORK_RTT}, {"mixed", WORK_MIXED}, {"setup", WORK_SETUP}, {"hold", WORK_HOLD}};
    char *options = strchr(line, ' ');
    if (options)
        *options++ = 0;
    if (!strcmp(line, "go") && job.phase == READY) {
        if (job.work == WORK_MIXED)
            start_tick();
        near_go();
    } else if (!strcmp(line, "end")) {
        begin_ending();
    } else if (!strcmp(line, "keep") && job.phase == READY) {
        keep();
    } else if (!strcmp(line, "drop")) {
        close_near(true);
        kept_far = 0;
        begin_ending();
    } else {
        for (size_t i = 0; i < sizeof works / sizeof *works; i++)
            if (options && job.phase == IDLE && !strcmp(line, works[i].name)) {
                begin(works[i].work, options);
                return;
            }
        say("{\"error\": \"not understood now: %.40s\"}", line);
    }
}

void read_commands(void) {
    static char buffer[4096];
    static size_t held;
    char *end;
    ssize_t got = read(0, buffer + held, sizeof buffer - 1 - held);
    if (got <= 0)
        exit(0);
    held += got;
    buffer[held] = 0;
    while ((end = strchr(buffer, '\n'))) {
        *end = 0;
        obey(buffer);
        held -= end + 1 - buffer;
        memmove(buffer, end + 1, held + 1);
    }
}

void commands_after_turn(void) {
    enum phase before = job.phase;
    near_check_time();
    if (job.phase == OPENING && !job.failed && job.opening == 0 &&
        (job.work == WORK_SETUP || job.ready == job.conns + job.bulk_conns)) {
        job.phase = READY;
        say("{\"ready\": %llu, \"wall_ns\": %llu}", (unsigned long long)job.ready,
            (unsigned long long)(now_ns() + job.seconds * 1000000000ull - job.deadline_ns));
    }
    if ((before == RUNNING || before == DONE) && job.phase == DONE && job.ended_ns && !job.failed) {
        say_result();
        job.ended_ns = 0;
    }
    if (job.phase == ENDING)
        check_ending();
}
