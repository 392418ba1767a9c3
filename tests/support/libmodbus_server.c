/* A Modbus server on libmodbus, as an independent implementation to test our drivers against.
 *
 *   libmodbus_server --port PORT [options]    Modbus/TCP on 127.0.0.1; 0 takes a free port
 *   libmodbus_server --serial PATH [options]  Modbus RTU on a serial port or pty, 19200 8N1, unit 1
 *
 *   --max-registers N   a request for more than N registers is refused with exception 03
 *   --hole START:LEN    a request that touches these registers is refused with exception 02
 *
 * Prints `listening PORT` or `listening PATH` when it answers, and ends when its standard input
 * closes, so that it never outlives the test that started it. On TCP every unit id is answered
 * from the same tables. The values are those of pymodbus_server.py, where they are described.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <modbus.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Clients: libmodbus waits by select(), which ends at descriptor 1023. */
enum { SIZE = 1024, MAX_CLIENTS = 1000, RTU_UNIT = 1, BAUD = 19200 };

struct limits {
    int max_registers; /* 0: what the protocol allows */
    int hole_start;
    int hole_length;
};

static void die(const char *what)
{
    fprintf(stderr, "libmodbus_server: %s: %s\n", what, modbus_strerror(errno));
    exit(EXIT_FAILURE);
}

static modbus_mapping_t *new_tables(void)
{
    static const struct {
        int address;
        uint16_t words[4];
        int count;
    } typed[] = {
        {100, {0x4060, 0x0000}, 2},                 /* float32 3.5 ABCD */
        {102, {0x0000, 0x4060}, 2},                 /* CDAB */
        {104, {0x6040, 0x0000}, 2},                 /* BADC */
        {106, {0x0000, 0x6040}, 2},                 /* DCBA */
        {110, {0x4249, 0x4652, 0x4f53, 0x5400}, 4}, /* "BIFROST" */
        {120, {0xffff, 0xffff, 0xffff, 0xfffe}, 4}, /* int64 -2 ABCD */
    };
    modbus_mapping_t *tables = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
    if (tables == NULL)
        die("tables");
    for (int i = 0; i < SIZE; i++) {
        tables->tab_bits[i] = i % 2 == 0;
        tables->tab_input_bits[i] = i % 2 == 1;
        tables->tab_registers[i] = i;
        tables->tab_input_registers[i] = 1000 + i;
    }
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++)
        memcpy(tables->tab_registers + typed[i].address, typed[i].words, typed[i].count * sizeof(uint16_t));
    return tables;
}

static int word(const uint8_t *octets)
{
    return octets[0] << 8 | octets[1];
}

static int check_range(int address, int count, const struct limits *limits)
{
    if (limits->max_registers > 0 && count > limits->max_registers)
        return MODBUS_EXCEPTION_ILLEGAL_DATA_VALUE;
    if (address < limits->hole_start + limits->hole_length && address + count > limits->hole_start)
        return MODBUS_EXCEPTION_ILLEGAL_DATA_ADDRESS;
    return 0;
}

/* The exception with which `pdu`, a request, is to be refused; 0 for none. */
static int refusal(const uint8_t *pdu, const struct limits *limits)
{
    int exception;
    switch (pdu[0]) {
    case MODBUS_FC_READ_HOLDING_REGISTERS:
    case MODBUS_FC_READ_INPUT_REGISTERS:
    case MODBUS_FC_WRITE_MULTIPLE_REGISTERS:
        return check_range(word(pdu + 1), word(pdu + 3), limits);
    case MODBUS_FC_WRITE_SINGLE_REGISTER:
    case MODBUS_FC_MASK_WRITE_REGISTER:
        return check_range(word(pdu + 1), 1, limits);
    case MODBUS_FC_WRITE_AND_READ_REGISTERS:
        exception = check_range(word(pdu + 1), word(pdu + 3), limits);
        return exception ? exception : check_range(word(pdu + 5), word(pdu + 7), limits);
    default:
        return 0;
    }
}

/* Reads and answers one request on the context's socket; false when the link is gone. */
static bool answer(modbus_t *modbus, modbus_mapping_t *tables, const struct limits *limits)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    int length = modbus_receive(modbus, request);
    if (length <= 0) /* 0: on a serial line a request to another unit */
        return length == 0;
    int exception = refusal(request + modbus_get_header_length(modbus), limits);
    int sent = exception ? modbus_reply_exception(modbus, request, exception)
                         : modbus_reply(modbus, request, length, tables);
    return sent >= 0;
}

static void wait_for_input(struct pollfd *watched, nfds_t count)
{
    while (poll(watched, count, -1) < 0)
        if (errno != EINTR)
            die("poll");
}

/* Standard input is only watched for its end; what is written to it is thrown away. */
static bool ended(const struct pollfd *input)
{
    char ignored[256];
    return input->revents && read(input->fd, ignored, sizeof ignored) <= 0;
}

static void serve_tcp(modbus_t *modbus, modbus_mapping_t *tables, const struct limits *limits)
{
    static struct pollfd watched[2 + MAX_CLIENTS]; /* standard input, the listener, the clients */
    struct sockaddr_in bound;
    socklen_t size = sizeof bound;
    nfds_t count = 2;

    int listener = modbus_tcp_listen(modbus, 128);
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&bound, &size) < 0)
        die("listen");
    printf("listening %d\n", ntohs(bound.sin_port));
    fflush(stdout);
    watched[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    watched[1] = (struct pollfd){.fd = listener, .events = POLLIN};

    for (;;) {
        wait_for_input(watched, count);
        if (ended(&watched[0]))
            return;
        for (nfds_t i = count; i-- > 2;) { /* downwards: the last one takes a closed one's place */
            if (!watched[i].revents)
                continue;
            modbus_set_socket(modbus, watched[i].fd);
            if (!answer(modbus, tables, limits)) {
                close(watched[i].fd);
                watched[i] = watched[--count];
            }
        }
        if (watched[1].revents && count < 2 + MAX_CLIENTS) {
            int client = modbus_tcp_accept(modbus, &listener);
            if (client >= 0)
                watched[count++] = (struct pollfd){.fd = client, .events = POLLIN};
        }
    }
}

static void serve_serial(modbus_t *modbus, const char *path, modbus_mapping_t *tables, const struct limits *limits)
{
    if (modbus_set_slave(modbus, RTU_UNIT) < 0 || modbus_connect(modbus) < 0)
        die(path);
    printf("listening %s\n", path);
    fflush(stdout);
    struct pollfd watched[] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = modbus_get_socket(modbus), .events = POLLIN},
    };
    for (;;) {
        wait_for_input(watched, 2);
        if (ended(&watched[0]))
            return;
        if (watched[1].revents & (POLLHUP | POLLERR))
            die(path);
        if (watched[1].revents && !answer(modbus, tables, limits))
            modbus_flush(modbus); /* noise or a wrong check sum: the next request starts afresh */
    }
}

static void usage(void)
{
    fputs("usage: libmodbus_server --port PORT | --serial PATH [--max-registers N] [--hole START:LEN]\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'}, {"serial", required_argument, NULL, 's'},
        {"max-registers", required_argument, NULL, 'm'}, {"hole", required_argument, NULL, 'h'}, {0},
    };
    const char *serial = NULL;
    int option, port = -1;
    struct limits limits = {0};

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            port = atoi(optarg);
        else if (option == 's')
            serial = optarg;
        else if (option == 'm')
            limits.max_registers = atoi(optarg);
        else if (option != 'h' || sscanf(optarg, "%d:%d", &limits.hole_start, &limits.hole_length) != 2)
            usage();
    }
    if (optind != argc || (port >= 0) == (serial != NULL))
        usage();

    modbus_t *modbus = serial ? modbus_new_rtu(serial, BAUD, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", port);
    if (modbus == NULL)
        die("modbus");
    modbus_mapping_t *tables = new_tables();
    if (serial)
        serve_serial(modbus, serial, tables, &limits);
    else
        serve_tcp(modbus, tables, &limits);
    modbus_mapping_free(tables);
    modbus_free(modbus);
    return EXIT_SUCCESS;
}
