/* A load generator for websockets: one thread, epoll, nothing allocated per message.
 *
 * Reads commands on standard input, one a line, and answers each with one line of words "name=value":
 *
 *   group NAME ADDRESS FILE        connections to tcp:PORT or unix:PATH, as FILE describes them; nats:PORT
 *                                  is tcp, and what is heard are NATS' messages, several to a frame
 *   open NAME COUNT ATONCE SECONDS open so many, and have each say what it is to say first
 *   close NAME                     cut all
 *   trigger NAME KIND WHERE FILE   what makes every connection of NAME hear one event: a message on the
 *                                  first connection of the group WHERE (ws), or a line to a socket (line)
 *   fanout NAME SECONDS FLIGHT NEEDLE WITHIN
 *   ask NAME FILE                  what "requests" sends; one text for each connection, or one for all
 *   requests NAME SECONDS CONNECTIONS FLIGHT
 *   stop NAME INDEX                read no more on that connection
 *   hear NAME INDEX SECONDS        read on it again
 *   returns NAME                   from now on its connections come back when they are closed
 *   herd NAME PROBES SECONDS       until all of NAME are back; meanwhile those of PROBES ask now and then
 *   wait SECONDS                   only read, and answer pings
 *   state NAME
 *   quit
 *
 * FILE has records "KIND LENGTH\n" + so many bytes + "\n": "connect" is an upgrade request and begins
 * a connection, "say" a first message, "again" the same on coming back, "text" a trigger or a question.
 * In texts #########, nine of them, become a number; in "again" \1 becomes the connection's name and \2 the
 * version that the message in the same place was answered with.
 *
 * What counts as delivered was received: each event has a number behind NEEDLE, and each connection must
 * get each number once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST_SAYS 16
#define MOST_GROUPS 64
#define RING 64
#define MOST_TIMES (1 << 22)
#define BUFFER (1 << 20)
#define PROBE_EVERY 0.05
/* What the bundled client waits where nothing told it how long, and for how long it tries. */
#define FIRST_PAUSE 0.5
#define LONGEST_PAUSE 20.0
#define OPEN_WITHIN 20.0

static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; /* of the one key that all requests have */
static const unsigned char MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

enum { IDLE, CONNECTING, UPGRADING, STARTING, OPEN, CLOSED, WAITING };

struct text { char *bytes; uint32_t length; };

struct group;

struct connection {
    struct group *group;
    int fd;
    uint8_t state, returning, deaf;
    uint8_t says, agains, said, answered;
    uint16_t close_code;
    uint32_t index;
    uint32_t heard;  /* bit n % 32 is the parity of n / 32 of the last event n */
    uint32_t number; /* of the last request */
    uint32_t frames;
    uint32_t outstanding;
    double began, tried, due, pause, asked;
    struct text request, *say, *again;
    char *rest; /* the beginning of a frame that has not come whole */
    uint32_t rest_length, rest_size;
    char name[96];
    char version[MOST_SAYS][20];
    double sent[RING];
};

struct group {
    char name[32];
    struct sockaddr_storage address;
    socklen_t address_length;
    int domain;
    int count;
    struct connection *connections;
    struct text *asks, *triggers;
    int ask_count, trigger_count;
    struct connection *publisher;
    int line;
    int returns, nats;
    int opened, failed, back;
    uint64_t frames, bytes, pings, closed, strange;
    char error[400];
};

static struct group groups[MOST_GROUPS];
static int group_count;
static int poller;
static char input[BUFFER + 16];
static float *times, *probe_times;
static int time_count, probe_count;

static enum { NOTHING, FANOUT, REQUESTS } mode;
static struct group *target;
static struct group *prober;
static char needle[64];
static size_t needle_length;
static uint64_t next_number = 1000; /* rises for ever: what is a version must */
static uint64_t base;
static int flight, expected;
static uint32_t done_count[RING];
static double sent_at[RING];
static uint64_t sent, done, delivered, twice, wrong, requests_done;
static double last_delivery, stop_at;
static int sending;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *why) {
    printf("failed why=%s\n", why);
    exit(1);
}

static void *allocate(size_t size) {
    void *found = calloc(1, size);
    if (!found) die("no_memory");
    return found;
}

static void took(double seconds) {
    if (time_count < MOST_TIMES) times[time_count++] = (float)seconds;
}

static void probe_took(double seconds) {
    if (probe_count < MOST_TIMES) probe_times[probe_count++] = (float)seconds;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of the times that were taken, in milliseconds. */
static void print_some(float *some, int count, const char *of) {
    qsort(some, (size_t)count, sizeof *some, ascending);
    static const double parts[] = {0.5, 0.99, 1};
    static const char *names[] = {"p50", "p99", "worst"};
    for (int i = 0; i < 3; i++) {
        int at = count ? (int)(parts[i] * (count - 1)) : 0;
        printf(" %s%s=%.4f", of, names[i], count ? some[at] * 1000.0 : 0.0);
    }
}

static void print_times(void) { print_some(times, time_count, ""); }

/* ---- frames out ---- */

static size_t frame(char *out, const char *text, size_t length, int opcode) {
    size_t at = 2;
    out[0] = (char)(0x80 | opcode);
    if (length < 126) {
        out[1] = (char)(0x80 | length);
    } else {
        out[1] = (char)(0x80 | 126);
        out[2] = (char)(length >> 8);
        out[3] = (char)length;
        at = 4;
    }
    memcpy(out + at, MASK, 4);
    at += 4;
    for (size_t i = 0; i < length; i++) out[at + i] = text[i] ^ MASK[i & 3];
    return at + length;
}

static void put_number(char *at, uint64_t number) {
    for (int i = 8; i >= 0; i--, number /= 10) at[i] = (char)('0' + number % 10);
}

static void lose(struct connection *c);

static void send_all(struct connection *c, const char *bytes, size_t length) {
    ssize_t n = send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (n == (ssize_t)length) return;
    if (n < 0 && errno != EAGAIN) return; /* the end will be read */
    snprintf(c->group->error, sizeof c->group->error, "a_short_write");
    c->group->strange++;
}

static void say_text(struct connection *c, const struct text *what, uint64_t number) {
    static char plain[65536], framed[65536 + 16];
    memcpy(plain, what->bytes, what->length);
    char *mark = memmem(plain, what->length, "#########", 9);
    if (mark) put_number(mark, number);
    send_all(c, framed, frame(framed, plain, what->length, 1));
}

static size_t fill(struct connection *c, const struct text *what, int place, char *out) {
    size_t at = 0;
    for (uint32_t i = 0; i < what->length; i++) {
        const char *put = what->bytes[i] == 1 ? c->name : what->bytes[i] == 2 ? c->version[place] : NULL;
        if (put) {
            size_t length = strlen(put);
            memcpy(out + at, put, length);
            at += length;
        } else {
            out[at++] = what->bytes[i];
        }
    }
    return at;
}

/* The first alone; when that is answered the others at once. */
static void say_first(struct connection *c) {
    static char plain[65536], framed[MOST_SAYS * 2048];
    struct text *says = c->returning && c->agains ? c->again : c->say;
    int count = c->returning && c->agains ? c->agains : c->says;
    size_t length = 0;
    int until = c->said == 0 ? 1 : count;
    for (; c->said < until; c->said++) {
        size_t plain_length = fill(c, &says[c->said], c->said, plain);
        length += frame(framed + length, plain, plain_length, 1);
    }
    if (length) send_all(c, framed, length);
}

/* ---- connections ---- */

static void begin(struct connection *c) {
    struct group *g = c->group;
    c->fd = socket(g->domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("no_descriptors");
    int one = 1;
    if (g->domain == AF_INET) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->said = c->answered = c->deaf = 0;
    c->rest_length = 0;
    c->outstanding = 0;
    c->tried = now();
    c->state = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&g->address, g->address_length) < 0 && errno != EINPROGRESS) {
        /* A unix socket whose backlog is full says so at once. */
        lose(c);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT | EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void is_open(struct connection *c) {
    c->state = OPEN;
    c->pause = FIRST_PAUSE;
    c->group->opened++;
    if (c->group == prober) return;
    took(now() - c->began);
    if (c->returning) c->group->back++;
}

static void lose(struct connection *c) {
    struct group *g = c->group;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    if (c->state == OPEN) {
        g->opened--;
        g->closed++;
    } else if (!c->returning) {
        g->failed++;
    }
    c->state = CLOSED;
    if (g->returns && (c->name[0] || !c->agains)) {
        c->state = WAITING;
        if (!c->returning || c->due == 0) c->returning = 1;
        double wait = c->due + c->pause * drand48();
        c->pause = c->pause * 2 < LONGEST_PAUSE ? c->pause * 2 : LONGEST_PAUSE;
        c->due = now() + wait;
        c->began = c->due;
    }
}

static void cut(struct connection *c) {
    if (c->fd >= 0) {
        struct linger at_once = {1, 0}; /* else the ports would run out */
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(c->fd);
    }
    if (c->state == OPEN) c->group->opened--;
    c->fd = -1;
    c->state = IDLE;
    c->returning = 0;
    c->due = 0;
    c->name[0] = 0;
}

/* ---- what is heard ---- */

static const char *find(const char *in, size_t length, const char *what, size_t what_length) {
    return memmem(in, length, what, what_length);
}

#define FIND(in, length, what) find(in, length, what, sizeof(what) - 1)

static void keep(char *to, size_t room, const char *from, const char *end) {
    size_t n = 0;
    while (from < end && *from != '"' && n + 1 < room) to[n++] = *from++;
    to[n] = 0;
}

static void note(struct group *g, const char *text, size_t length) {
    if (g->error[0]) return;
    size_t n = 0;
    for (; n < length && n + 1 < sizeof g->error; n++) g->error[n] = text[n] == ' ' ? '_' : text[n];
    g->error[n] = 0;
}

static void next_trigger(void) {
    uint64_t number = next_number++;
    done_count[number % RING] = 0;
    sent_at[number % RING] = now();
    sent++;
    struct text *what = &target->triggers[number % target->trigger_count];
    if (target->publisher) {
        say_text(target->publisher, what, number);
        return;
    }
    static char line[4096];
    memcpy(line, what->bytes, what->length);
    char *mark = memmem(line, what->length, "#########", 9);
    if (mark) put_number(mark, number);
    line[what->length] = '\n';
    if (write(target->line, line, what->length + 1) != (ssize_t)what->length + 1) die("trigger");
}

static void heard_event(struct connection *c, const char *text, size_t length) {
    const char *found = find(text, length, needle, needle_length);
    uint64_t number = found ? strtoull(found + needle_length, NULL, 10) : 0;
    if (number < base || number >= next_number || number + RING < next_number) {
        c->group->strange++;
        note(c->group, text, length);
        return;
    }
    uint32_t bit = number % 32, parity = (number / 32) & 1;
    if (((c->heard >> bit) & 1) == parity) {
        twice++;
        return;
    }
    c->heard ^= 1u << bit;
    delivered++;
    if ((int)++done_count[number % RING] < expected) return;
    last_delivery = now();
    took(last_delivery - sent_at[number % RING]);
    done++;
    if (sending && last_delivery < stop_at) next_trigger();
}

static void ask(struct connection *c) {
    struct group *g = c->group;
    uint32_t number = ++c->number;
    c->sent[number % RING] = now();
    c->outstanding++;
    say_text(c, &g->asks[c->index % g->ask_count], number);
}

static void heard_answer(struct connection *c, const char *text, size_t length) {
    const char *found = FIND(text, length, "\"id\":\"");
    if (!found) return; /* an event */
    uint32_t number = (uint32_t)strtoul(found + 6, NULL, 10);
    if (number > c->number || number + RING <= c->number || c->sent[number % RING] == 0 ||
        FIND(text, length, "\"error\":")) {
        wrong++;
        note(c->group, text, length);
    }
    double at = now();
    if (c->group == prober)
        probe_took(at - c->sent[number % RING]);
    else
        took(at - c->sent[number % RING]);
    c->sent[number % RING] = 0;
    c->outstanding--;
    requests_done++;
    last_delivery = at;
    if (sending && at < stop_at) ask(c);
}

static void heard_first(struct connection *c, const char *text, size_t length) {
    const char *end = text + length, *id = FIND(text, length, "\"id\":\"");
    if (!id) return;
    int place = atoi(id + 6);
    if (FIND(text, length, "\"error\":")) {
        note(c->group, text, length);
        c->group->strange++;
    }
    const char *found = FIND(text, length, "\"connection\":\"");
    if (found) keep(c->name, sizeof c->name, found + 14, end);
    found = FIND(text, length, "\"version\":\"");
    if (found && place > 0 && place < MOST_SAYS) keep(c->version[place], sizeof c->version[0], found + 11, end);
    c->answered++;
    int count = c->returning && c->agains ? c->agains : c->says;
    if (c->answered == count)
        is_open(c);
    else if (c->answered == 1)
        say_first(c);
}

/* NATS' own protocol. Its server never cuts a message in two frames. */
static void heard_nats(struct connection *c, const char *text, size_t length) {
    struct group *g = c->group;
    const char *end = text + length, *line_end;
    g->frames++;
    g->bytes += length;
    for (; text < end && (line_end = FIND(text, (size_t)(end - text), "\r\n")); text = line_end + 2) {
        if (!memcmp(text, "MSG ", 4)) {
            const char *size = memrchr(text, ' ', (size_t)(line_end - text));
            size_t payload = strtoul(size, NULL, 10);
            text = line_end + 2;
            line_end = text + payload;
            if (line_end + 2 > end) break;
            if (mode == FANOUT && g == target) heard_event(c, text, payload);
        } else if (!memcmp(text, "PONG", 4) && c->state == STARTING) {
            is_open(c);
        } else if (!memcmp(text, "PING", 4)) {
            static char pong[32];
            send_all(c, pong, frame(pong, "PONG\r\n", 6, 2));
        } else if (memcmp(text, "INFO ", 5)) {
            break;
        }
    }
    if (text == end) return;
    note(g, text, (size_t)(end - text));
    g->strange++;
}

static void heard_text(struct connection *c, const char *text, size_t length) {
    struct group *g = c->group;
    if (g->nats) {
        heard_nats(c, text, length);
        return;
    }
    g->frames++;
    g->bytes += length;
    c->frames++;
    if (c->state == STARTING) {
        heard_first(c, text, length);
    } else if (mode == FANOUT && g == target) {
        heard_event(c, text, length);
    } else if ((mode == REQUESTS && g == target) || g == prober) {
        heard_answer(c, text, length);
    }
    if (g->returns) {
        const char *found = FIND(text, length, "\"reconnect_after\":");
        if (found) c->due = strtod(found + 18, NULL) + 1e-6;
    }
}

/* How many of these bytes were whole frames. */
static size_t take_frames(struct connection *c, char *bytes, size_t length) {
    size_t at = 0;
    while (length - at >= 2) {
        unsigned char *b = (unsigned char *)bytes + at;
        size_t head = 2, size = b[1] & 127;
        if (b[1] & 128) {
            note(c->group, "a_masked_frame", 14);
            c->group->strange++;
        }
        if (size == 126) {
            head = 4;
            if (length - at < head) break;
            size = (size_t)b[2] << 8 | b[3];
        } else if (size == 127) {
            head = 10;
            if (length - at < head) break;
            size = (size_t)b[6] << 24 | (size_t)b[7] << 16 | (size_t)b[8] << 8 | b[9];
        }
        if (length - at - head < size) break;
        char *text = bytes + at + head;
        at += head + size;
        int opcode = b[0] & 15;
        if (opcode <= 2) {
            char kept = text[size]; /* so that numbers end */
            text[size] = 0;
            heard_text(c, text, size);
            text[size] = kept;
        } else if (opcode == 9 || opcode == 8) {
            static char pong[256];
            if (opcode == 9) c->group->pings++;
            if (opcode == 8 && size >= 2) c->close_code = (uint16_t)((unsigned char)text[0] << 8 | (unsigned char)text[1]);
            send_all(c, pong, frame(pong, text, size, opcode == 9 ? 10 : 8));
        }
        if (c->fd < 0) return length;
    }
    return at;
}

static void set_events(struct connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static size_t upgraded(struct connection *c, char *bytes, size_t length) {
    char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (memcmp(bytes, "HTTP/1.1 101", 12) || !FIND(bytes, length, ACCEPT)) {
        note(c->group, bytes, length < 300 ? length : 300);
        lose(c);
        return length;
    }
    c->state = STARTING;
    if (c->says)
        say_first(c);
    else
        is_open(c);
    return (size_t)(end + 4 - bytes);
}

static void readable(struct connection *c) {
    size_t before = c->rest_length;
    if (before) memcpy(input, c->rest, before);
    ssize_t n = recv(c->fd, input + before, BUFFER - before, 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) return;
        lose(c);
        return;
    }
    size_t length = before + (size_t)n, at = 0;
    if (c->state == UPGRADING) at = upgraded(c, input, length);
    if (c->fd >= 0 && c->state != UPGRADING) at += take_frames(c, input + at, length - at);
    if (c->fd < 0) return;
    c->rest_length = (uint32_t)(length - at);
    if (c->rest_length > c->rest_size) {
        free(c->rest);
        c->rest_size = c->rest_length * 2;
        c->rest = allocate(c->rest_size);
    }
    memcpy(c->rest, input + at, c->rest_length);
}

static void happened(struct connection *c, uint32_t events) {
    if (c->fd < 0) return;
    if (c->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) {
            note(c->group, strerror(error), strlen(strerror(error)));
            lose(c);
            return;
        }
        c->state = UPGRADING;
        set_events(c, EPOLLIN);
        send_all(c, c->request.bytes, c->request.length);
        return;
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) readable(c);
}

/* One round; returns whether a command waits. */
static int turn(int milliseconds) {
    struct epoll_event events[512];
    int command = 0, n = epoll_wait(poller, events, 512, milliseconds);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr)
            happened(events[i].data.ptr, events[i].events);
        else
            command = 1;
    }
    return command;
}

/* ---- commands ---- */

static struct group *group_named(const char *name) {
    for (int i = 0; i < group_count; i++)
        if (!strcmp(groups[i].name, name)) return &groups[i];
    die("no_such_group");
    return NULL;
}

typedef void take_record(struct group *g, const char *kind, struct text text);

static void read_file(struct group *g, const char *path, take_record *take) {
    FILE *file = fopen(path, "rb");
    char kind[16];
    unsigned length;
    if (!file) die("no_such_file");
    while (fscanf(file, "%15s %u", kind, &length) == 2) {
        fgetc(file);
        struct text text = {allocate(length + 1), length};
        if (length && fread(text.bytes, 1, length, file) != length) die("a_short_file");
        take(g, kind, text);
    }
    fclose(file);
}

static struct text *append(struct text *texts, int count, struct text text) {
    texts = realloc(texts, (size_t)(count + 1) * sizeof *texts);
    if (!texts) die("no_memory");
    texts[count] = text;
    return texts;
}

static int room;

static void take_connection(struct group *g, const char *kind, struct text text) {
    if (!strcmp(kind, "connect")) {
        if (g->count == room) {
            room = room ? room * 2 : 64;
            g->connections = realloc(g->connections, (size_t)room * sizeof *g->connections);
            if (!g->connections) die("no_memory");
        }
        struct connection *c = &g->connections[g->count];
        memset(c, 0, sizeof *c);
        c->group = g;
        c->fd = -1;
        c->index = (uint32_t)g->count++;
        c->pause = FIRST_PAUSE;
        c->request = text;
        return;
    }
    struct connection *c = &g->connections[g->count - 1];
    if (c->says >= MOST_SAYS || c->agains >= MOST_SAYS) die("too_many_first_messages");
    if (!strcmp(kind, "say"))
        c->say = append(c->say, c->says++, text);
    else
        c->again = append(c->again, c->agains++, text);
}

static void take_trigger(struct group *g, const char *kind, struct text text) {
    (void)kind;
    g->triggers = append(g->triggers, g->trigger_count++, text);
}

static void take_ask(struct group *g, const char *kind, struct text text) {
    (void)kind;
    g->asks = append(g->asks, g->ask_count++, text);
}

static void address(struct group *g, const char *text) {
    g->nats = !strncmp(text, "nats:", 5);
    if (g->nats || !strncmp(text, "tcp:", 4)) {
        struct sockaddr_in *in = (struct sockaddr_in *)&g->address;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)atoi(strchr(text, ':') + 1));
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        g->domain = AF_INET;
        g->address_length = sizeof *in;
    } else {
        struct sockaddr_un *un = (struct sockaddr_un *)&g->address;
        un->sun_family = AF_UNIX;
        strncpy(un->sun_path, text + 5, sizeof un->sun_path - 1);
        g->domain = AF_UNIX;
        g->address_length = sizeof *un;
    }
}

static void command_group(char **word) {
    if (group_count == MOST_GROUPS) die("too_many_groups");
    struct group *g = &groups[group_count++];
    snprintf(g->name, sizeof g->name, "%s", word[0]);
    address(g, word[1]);
    g->line = -1;
    room = 0;
    read_file(g, word[2], take_connection);
    printf("group connections=%d\n", g->count);
}

static int under_way(struct group *g, int upto) {
    int n = 0;
    for (int i = 0; i < upto; i++) {
        uint8_t state = g->connections[i].state;
        n += state == CONNECTING || state == UPGRADING || state == STARTING;
    }
    return n;
}

static void command_open(char **word) {
    struct group *g = group_named(word[0]);
    int count = atoi(word[1]), at_once = atoi(word[2]), at = 0;
    double began = now(), until = began + atof(word[3]), patience = until + 60;
    if (count > g->count) die("more_than_described");
    g->failed = 0;
    g->error[0] = 0;
    time_count = 0;
    int before = g->opened, started = 0;
    while (at < count && g->connections[at].state == OPEN) at++;
    for (;;) {
        int busy = started - (g->opened - before) - g->failed;
        while (busy < at_once && at < count && now() < until) {
            struct connection *c = &g->connections[at++];
            if (c->state != IDLE && c->state != CLOSED) continue;
            c->returning = 0;
            c->began = now();
            started++;
            busy++;
            begin(c);
        }
        if (!under_way(g, at) && (at >= count || now() >= until)) break;
        if (now() > patience) break;
        turn(1);
    }
    double took_seconds = now() - began;
    printf("open open=%d opened=%d failed=%d hanging=%d strange=%llu seconds=%.6f", g->opened, g->opened - before,
           g->failed, under_way(g, at), (unsigned long long)g->strange, took_seconds);
    print_times();
    printf(" error=%s\n", g->error[0] ? g->error : "-");
}

static void command_close(char **word) {
    struct group *g = group_named(word[0]);
    for (int i = 0; i < g->count; i++) cut(&g->connections[i]);
    g->opened = 0;
    printf("close\n");
}

static void command_trigger(char **word) {
    struct group *g = group_named(word[0]);
    g->trigger_count = 0;
    read_file(g, word[3], take_trigger);
    g->publisher = NULL;
    if (!strcmp(word[1], "ws")) {
        g->publisher = &group_named(word[2])->connections[0];
    } else if (g->line < 0) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        strncpy(un.sun_path, word[2], sizeof un.sun_path - 1);
        g->line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(g->line, (struct sockaddr *)&un, sizeof un) < 0) die("line");
    }
    printf("trigger texts=%d\n", g->trigger_count);
}

static void command_fanout(char **word) {
    struct group *g = group_named(word[0]);
    flight = atoi(word[2]);
    snprintf(needle, sizeof needle, "%s", word[3]);
    needle_length = strlen(needle);
    if (flight >= RING / 2) die("too_many_in_flight");
    /* From a multiple of 64 on, so that the parities begin alike. */
    base = next_number = (next_number + 63) / 64 * 64;
    expected = 0;
    for (int i = 0; i < g->count; i++) {
        struct connection *c = &g->connections[i];
        c->heard = ~0u;
        expected += c->state == OPEN && !c->deaf;
    }
    uint64_t strange = g->strange, closed = g->closed;
    sent = done = delivered = twice = 0;
    time_count = 0;
    target = g;
    mode = FANOUT;
    sending = 1;
    double began = last_delivery = now(), patience;
    stop_at = began + atof(word[1]);
    patience = stop_at + atof(word[4]);
    for (int i = 0; i < flight; i++) next_trigger();
    while (done < sent && now() < patience) turn(0);
    mode = NOTHING;
    sending = 0;
    uint64_t due = sent * (uint64_t)expected;
    printf("fanout tabs=%d sent=%llu done=%llu delivered=%llu lost=%llu twice=%llu strange=%llu closed=%llu seconds=%.6f",
           expected, (unsigned long long)sent, (unsigned long long)done, (unsigned long long)delivered,
           (unsigned long long)(due - delivered), (unsigned long long)twice,
           (unsigned long long)(g->strange - strange), (unsigned long long)(g->closed - closed),
           last_delivery - began);
    print_times();
    printf(" error=%s\n", g->error[0] ? g->error : "-");
}

static void command_ask(char **word) {
    struct group *g = group_named(word[0]);
    g->ask_count = 0;
    read_file(g, word[1], take_ask);
    printf("ask texts=%d\n", g->ask_count);
}

static void command_requests(char **word) {
    struct group *g = group_named(word[0]);
    int connections = atoi(word[2]), each = atoi(word[3]), used = 0;
    requests_done = wrong = 0;
    time_count = 0;
    target = g;
    mode = REQUESTS;
    sending = 1;
    double began = last_delivery = now(), seconds = atof(word[1]);
    stop_at = began + seconds;
    for (int i = 0; i < g->count && used < connections; i++) {
        struct connection *c = &g->connections[i];
        if (c->state != OPEN || c->deaf) continue;
        used++;
        for (int n = 0; n < each; n++) ask(c);
    }
    for (;;) {
        turn(0);
        double at = now();
        if (at > stop_at) {
            uint32_t outstanding = 0;
            for (int i = 0; i < g->count; i++) outstanding += g->connections[i].outstanding;
            if (!outstanding || at > stop_at + 20) break;
        }
    }
    uint32_t outstanding = 0;
    for (int i = 0; i < g->count; i++) {
        outstanding += g->connections[i].outstanding;
        g->connections[i].outstanding = 0;
    }
    mode = NOTHING;
    sending = 0;
    printf("requests connections=%d done=%llu wrong=%llu lost=%u seconds=%.6f", used, (unsigned long long)requests_done,
           (unsigned long long)wrong, outstanding, last_delivery - began);
    print_times();
    printf(" error=%s\n", g->error[0] ? g->error : "-");
}

static void command_stop(char **word) {
    struct group *g = group_named(word[0]);
    struct connection *c = &g->connections[atoi(word[1])];
    /* Else the kernel would take megabytes for it, and the server had nothing to keep. */
    int little = 4096;
    if (c->fd >= 0) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    if (c->fd >= 0) epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
    c->deaf = 1;
    printf("stop\n");
}

static void command_hear(char **word) {
    struct group *g = group_named(word[0]);
    struct connection *c = &g->connections[atoi(word[1])];
    uint32_t before = c->frames;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int much = 1 << 20;
    if (c->fd >= 0) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &much, sizeof much);
    if (c->fd >= 0) epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    c->deaf = 0;
    double until = now() + atof(word[2]);
    while (now() < until) turn(10);
    printf("hear heard=%u open=%d code=%d\n", c->frames - before, c->state == OPEN, c->close_code);
}

static void command_returns(char **word) {
    group_named(word[0])->returns = 1;
    printf("returns\n");
}

static int gave_up;

static void come_back(struct group *g, double at) {
    for (int i = 0; i < g->count; i++) {
        struct connection *c = &g->connections[i];
        if (c->state == WAITING && c->due <= at) {
            c->due = 0;
            begin(c);
        } else if ((c->state == CONNECTING || c->state == UPGRADING || c->state == STARTING) &&
                   at - c->tried > OPEN_WITHIN) {
            gave_up++;
            lose(c);
        }
    }
}

static void command_herd(char **word) {
    struct group *g = group_named(word[0]);
    prober = group_named(word[1]);
    double began = now(), until = began + atof(word[2]), looked = 0, first = 0, all = 0;
    int wanted = 0, lost = 0;
    uint64_t strange = g->strange;
    for (int i = 0; i < g->count; i++) wanted += g->connections[i].state != IDLE;
    g->back = gave_up = 0;
    requests_done = wrong = 0;
    time_count = probe_count = 0;
    while (now() < until) {
        turn(1);
        double at = now();
        if (at - looked < 0.005) continue;
        looked = at;
        come_back(g, at);
        come_back(prober, at);
        for (int i = 0; i < prober->count; i++) {
            struct connection *p = &prober->connections[i];
            if (p->state == OPEN && !p->outstanding && at - p->asked > PROBE_EVERY) {
                p->asked = at;
                ask(p);
            }
        }
        if (!lost && g->opened < wanted) lost = 1;
        if (lost && !first && g->back) first = at - began;
        if (lost && g->opened == wanted) {
            all = at - began;
            break;
        }
    }
    struct group *probe = prober;
    prober = NULL;
    printf("herd wanted=%d back=%d open=%d gave_up=%d first=%.3f all=%.3f strange=%llu probes=%llu probe_wrong=%llu", wanted, g->back,
           g->opened, gave_up, first, all, (unsigned long long)(g->strange - strange), (unsigned long long)requests_done,
           (unsigned long long)wrong);
    print_times();
    print_some(probe_times, probe_count, "probe_");
    printf(" probe_error=%s error=%s\n", probe->error[0] ? probe->error : "-", g->error[0] ? g->error : "-");
}

static void command_wait(char **word) {
    double until = now() + atof(word[0]);
    while (now() < until) turn(10);
    printf("wait\n");
}

static void command_state(char **word) {
    struct group *g = group_named(word[0]);
    int deaf = 0;
    for (int i = 0; i < g->count; i++) deaf += g->connections[i].deaf;
    printf("state open=%d deaf=%d closed=%llu code=%d frames=%llu bytes=%llu pings=%llu strange=%llu error=%s\n", g->opened,
           deaf, (unsigned long long)g->closed, g->count ? g->connections[0].close_code : 0,
           (unsigned long long)g->frames, (unsigned long long)g->bytes, (unsigned long long)g->pings,
           (unsigned long long)g->strange, g->error[0] ? g->error : "-");
}

static const struct {
    const char *name;
    int words;
    void (*run)(char **word);
} COMMANDS[] = {
    {"group", 3, command_group},       {"open", 4, command_open},     {"close", 1, command_close},
    {"trigger", 4, command_trigger},   {"fanout", 5, command_fanout}, {"ask", 2, command_ask},
    {"requests", 4, command_requests}, {"stop", 2, command_stop},     {"hear", 3, command_hear},     {"returns", 1, command_returns},
    {"herd", 3, command_herd},         {"wait", 1, command_wait},     {"state", 1, command_state},
};

static void obey(char *line) {
    char *words[8] = {0};
    int count = 0;
    for (char *word = strtok(line, " \n"); word && count < 8; word = strtok(NULL, " \n")) words[count++] = word;
    if (!count || !strcmp(words[0], "quit")) exit(0);
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        if (!strcmp(COMMANDS[i].name, words[0]) && count == COMMANDS[i].words + 1) {
            COMMANDS[i].run(words + 1);
            fflush(stdout);
            return;
        }
    }
    die("no_such_command");
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    times = allocate(MOST_TIMES * sizeof *times);
    probe_times = allocate(MOST_TIMES * sizeof *probe_times);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    static char line[8192];
    for (;;) {
        if (!turn(1000)) continue;
        size_t length = 0;
        char byte;
        for (;;) {
            if (read(0, &byte, 1) != 1) return 0;
            if (byte == '\n') break;
            if (length + 1 < sizeof line) line[length++] = byte;
        }
        line[length] = 0;
        obey(line);
    }
}
