/* Who may do what. So far: the categories commands belong to, and the one user,
 * `default`, who may do everything once the password of `requirepass`, if there
 * is one, has been given. */
#ifndef VECTRA_ACL_ACL_H
#define VECTRA_ACL_ACL_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/digest.h"

enum acl_category_index {
#define ACLCAT(sym, name) ACL_INDEX_##sym,
#include "acl/categories.def"
#undef ACLCAT
    ACL_CATEGORY_COUNT
};

enum acl_category {
#define ACLCAT(sym, name) ACL_##sym = 1 << ACL_INDEX_##sym,
#include "acl/categories.def"
#undef ACLCAT
};

const char *acl_category_name(enum acl_category_index i);

/* The password of a user, kept as its SHA-256. */
struct acl_password {
    uint8_t digest[DIGEST_SHA256];
    bool is_set;
};

/* An empty password means none is needed. */
void acl_password_set(struct acl_password *p, struct bytes password);

/* True when no password is needed or it is the right one; the time it takes
 * does not tell how wrong it is. */
bool acl_password_check(const struct acl_password *p, struct bytes password);

#endif
