/* Shifts the wall clock of a process: preloaded, it adds to CLOCK_REALTIME the milliseconds that
 * stand, as an 8-byte integer, in the file OFFSET_FILE. All other clocks are left alone. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *offset_ms;

int clock_gettime(clockid_t clock, struct timespec *time)
{
    long failed = syscall(SYS_clock_gettime, clock, time);
    if (failed || clock != CLOCK_REALTIME)
        return (int)failed;
    if (!offset_ms) {
        int file = open(OFFSET_FILE, O_RDONLY | O_CLOEXEC);
        void *map = mmap(0, sizeof *offset_ms, PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (map == MAP_FAILED)
            return 0;
        offset_ms = map;
    }
    int64_t shift_ms = *offset_ms;
    time->tv_sec += shift_ms / 1000;
    return 0;
}
