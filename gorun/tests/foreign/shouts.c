/* A program without gorun: opens the named memory, reads texts from one ring, and writes them back in capitals to another
 * that it makes itself. Arguments: name, offset of the first ring, offset of the second. */
#define _GNU_SOURCE
#include "gorun_ring.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TIMEOUT_MS 100000

static int fail(const char *what, int code)
{
    fprintf(stderr, "%s: %d\n", what, code);
    return 1;
}

int main(int count, char **arguments)
{
    struct gorun_ring_end from, to;
    struct stat stat;
    unsigned char message[4096];
    unsigned char *memory;
    uint64_t first, second;
    uint32_t bytes;
    int file, done;

    if (count != 4)
        return fail("three arguments are needed", count);
    first = strtoull(arguments[2], NULL, 10);
    second = strtoull(arguments[3], NULL, 10);
    file = shm_open(arguments[1], O_RDWR, 0);
    if (file < 0 || fstat(file, &stat) != 0)
        return fail("shm_open", errno);
    memory = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED)
        return fail("mmap", errno);
    done = gorun_ring_open_reader(&from, memory + first, (uint64_t)stat.st_size - first);
    if (done != GORUN_RING_OK)
        return fail("open the first ring", done);
    done = gorun_ring_open_writer(&to, memory + second, (uint64_t)stat.st_size - second);
    if (done != GORUN_RING_OK)
        return fail("open the second ring", done);
    /* A plain view: what the other side wrote at the start of the memory, plus one. */
    *(uint64_t *)(memory + 8) = *(uint64_t *)memory + 1;
    while ((done = gorun_ring_read(&from, message, sizeof message, &bytes, TIMEOUT_MS)) == GORUN_RING_OK) {
        for (uint32_t at = 0; at < bytes; at++)
            message[at] = (unsigned char)toupper(message[at]);
        done = gorun_ring_write(&to, message, bytes, TIMEOUT_MS);
        if (done != GORUN_RING_OK)
            return fail("write", done);
    }
    gorun_ring_close(&to);
    return done == GORUN_RING_CLOSED ? 0 : fail("read", done);
}
