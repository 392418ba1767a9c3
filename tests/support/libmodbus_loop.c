/* How fast libmodbus reads: N reads of one holding register, one after the other on one
 * connection, as the bare figure that the load test compares the gateway with.
 *
 *   libmodbus_loop HOST PORT COUNT [ADDRESS [UNIT]]
 *
 * Prints one line of JSON: {"reads":N,"seconds":S,"reads_per_second":R}. A read that fails ends
 * the program with status 1: half a measurement is none.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void die(const char *what)
{
    fprintf(stderr, "libmodbus_loop: %s: %s\n", what, modbus_strerror(errno));
    exit(EXIT_FAILURE);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double read_seconds(modbus_t *modbus, int address, long count)
{
    uint16_t value;
    double start = now();
    for (long i = 0; i < count; i++)
        if (modbus_read_registers(modbus, address, 1, &value) != 1)
            die("read");
    return now() - start;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 6 || atol(argv[3]) < 1) {
        fputs("usage: libmodbus_loop HOST PORT COUNT [ADDRESS [UNIT]]\n", stderr);
        return 2;
    }
    long count = atol(argv[3]);
    int address = argc > 4 ? atoi(argv[4]) : 0;
    int unit = argc > 5 ? atoi(argv[5]) : 1;

    modbus_t *modbus = modbus_new_tcp(argv[1], atoi(argv[2]));
    if (modbus == NULL || modbus_set_slave(modbus, unit) < 0)
        die("modbus");
    if (modbus_connect(modbus) < 0)
        die("connect");
    double seconds = read_seconds(modbus, address, count);
    printf("{\"reads\":%ld,\"seconds\":%.6f,\"reads_per_second\":%.1f}\n", count, seconds, count / seconds);
    modbus_close(modbus);
    modbus_free(modbus);
    return EXIT_SUCCESS;
}
