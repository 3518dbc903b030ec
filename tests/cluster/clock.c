/* A wall clock that can be set while a program runs, for that program alone: loaded with LD_PRELOAD, it adds the seconds in the file
 * CLOCK_OFFSET_FILE. Clocks that never jump stay as they are. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (result == 0 && id == CLOCK_REALTIME) {
        const char *name = getenv("CLOCK_OFFSET_FILE");
        FILE *file = name ? fopen(name, "r") : NULL;
        long offset = 0;
        if (file) {
            if (fscanf(file, "%ld", &offset) == 1)
                now->tv_sec += offset;
            fclose(file);
        }
    }
    return result;
}
