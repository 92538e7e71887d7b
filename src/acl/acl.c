#include "acl/acl.h"

static const char *const names[ACL_CATEGORY_COUNT] = {
#define ACLCAT(sym, name) [ACL_INDEX_##sym] = name,
#include "acl/categories.def"
#undef ACLCAT
};

const char *acl_category_name(enum acl_category_index i)
{
    return names[i];
}

void acl_password_set(struct acl_password *p, struct bytes password)
{
    p->is_set = password.len > 0;
    digest_sha256(password, p->digest);
}

bool acl_password_check(const struct acl_password *p, struct bytes password)
{
    uint8_t digest[DIGEST_SHA256];

    if (!p->is_set) {
        return true;
    }
    digest_sha256(password, digest);
    return digest_equal(digest, p->digest, sizeof(digest));
}
