/* Signals, each in a process of its own. */
#include "unit/cm.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/signals.h"

/* Runs fn in a child with the handlers in place; its exit code, or 128 and the
 * signal that killed it. */
static int in_child(int (*fn)(void))
{
    int status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        signals_install(NULL);
        _exit(fn());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int ask_once(void)
{
    if (signals_asked() != 0) {
        return 2;
    }
    raise(SIGINT);
    return signals_asked() == SIGINT ? 0 : 3;
}

static int terminate_twice(void)
{
    raise(SIGTERM);
    raise(SIGTERM);
    return signals_asked() == SIGTERM ? 0 : 3;
}

static int interrupt_twice(void)
{
    raise(SIGINT);
    fclose(stderr); /* its words do not belong into the test's output */
    raise(SIGINT);
    return 0;
}

static int ignored(void)
{
    raise(SIGPIPE);
    raise(SIGHUP);
    return signals_asked();
}

static void an_interrupt_asks_for_the_end(void **state)
{
    (void)state;
    assert_int_equal(in_child(ask_once), 0);
}

static void asking_twice_to_terminate_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(in_child(terminate_twice), 0);
}

static void a_second_interrupt_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(in_child(interrupt_twice), 1);
}

static void broken_pipes_and_hangups_are_ignored(void **state)
{
    (void)state;
    assert_int_equal(in_child(ignored), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interrupt_asks_for_the_end),
        cmocka_unit_test(asking_twice_to_terminate_changes_nothing),
        cmocka_unit_test(a_second_interrupt_ends_the_process),
        cmocka_unit_test(broken_pipes_and_hangups_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
