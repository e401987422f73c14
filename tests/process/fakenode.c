/*
 * A node, as far as a plugin that looks for one can see: it answers --version. Called with anything else, it
 * starts that as its child, as a node starts a plugin, passes SIGTERM on, and ends as the child ends.
 *
 * It has to be a compiled program: of a script the system says that the interpreter is running.
 * Made with -DANSWER="...", -DDELAY_MS=n, -DREPEAT=n (how often it says it) and -DASKED="file that gets the
 * ID of each process that was asked, one a line".
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t child;

static void pass_on(int number) { kill(child, number); }

static int answer(void) {
    char line[32];
    int asked = open(ASKED, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int length = snprintf(line, sizeof line, "%d\n", getpid());
    struct timespec delay = {DELAY_MS / 1000, DELAY_MS % 1000 * 1000000L};
    if (asked < 0 || write(asked, line, length) != length) return 1;
    nanosleep(&delay, NULL);
    for (long i = 0; i < REPEAT; i++)
        if (puts(ANSWER) < 0) return 1;
    return 0;
}

int main(int argc, char **argv) {
    int status;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) return answer();
    if (argc < 2) return 2;
    child = fork();
    if (child == 0) {
        execv(argv[1], argv + 1);
        _exit(127);
    }
    signal(SIGTERM, pass_on);
    while (waitpid(child, &status, 0) < 0) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
