/* Fine parts with whatever vectors every processor of its kind has. */
#include "vec/kernels_fine.h"

const struct vec_fine_kernels vec_scalar_fine = FINE_KERNELS;
