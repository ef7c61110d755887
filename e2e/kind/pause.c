// The first process of a pod: holds its namespaces, collects what dies in them, ends when asked.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int signal)
{
    (void)signal;
    _exit(0);
}

static void collect(int signal)
{
    (void)signal;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

int main(void)
{
    struct sigaction on = {0};
    on.sa_handler = stop;
    sigaction(SIGINT, &on, 0);
    sigaction(SIGTERM, &on, 0);
    on.sa_handler = collect;
    on.sa_flags = SA_NOCLDSTOP;
    sigaction(SIGCHLD, &on, 0);
    for (;;)
        pause();
}
