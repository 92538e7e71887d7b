#include "cmd/client.h"

#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/job.h"

void client_init(struct client *c, uint64_t id, void *conn)
{
    *c = (struct client){
        .id = id, .conn = conn, .proto = 2, .connected_at = clock_mono_us()};
}

static void free_texts(struct client *c)
{
    mem_free(c->name);
    mem_free(c->lib_name);
    mem_free(c->lib_ver);
    c->name = c->lib_name = c->lib_ver = NULL;
}

void client_deinit(struct client *c, struct cmd_env *env)
{
    if (c->job) {
        cmd_job_cancel(c->job);
    }
    monitor_remove(env, c);
    multi_end(c);
    multi_unwatch_all(env, c);
    mem_free(c->queue);
    free_texts(c);
}

void client_reset(struct client *c, struct cmd_env *env)
{
    monitor_remove(env, c);
    multi_end(c);
    multi_unwatch_all(env, c);
    client_set_name(c, BYTES_NONE);
    c->db = 0;
    c->proto = 2;
}

bool client_name_is_valid(struct bytes name)
{
    size_t i;

    for (i = 0; i < name.len; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') {
            return false;
        }
    }
    return true;
}

void client_set_name(struct client *c, struct bytes name)
{
    mem_free(c->name);
    c->name = name.len ? mem_strndup(name.data, name.len) : NULL;
}
