/* stall.c - holds one thread of a process until its own input ends.
 *
 * usage: stall TID    says "stopped"; exit 77 where that is not allowed
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pid_t tid = argc > 1 ? (pid_t)atoi(argv[1]) : 0;
    int status;

    if (tid <= 0 || ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0 ||
        ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0 ||
        waitpid(tid, &status, __WALL) != tid)
        return 77;
    puts("stopped");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    return 0;
}
