/* image.h - The compiled kernels inside of the program. */
#ifndef TG_KERNELS_CUDA_IMAGE_H
#define TG_KERNELS_CUDA_IMAGE_H

#include <stdint.h>

/* The code of one k_*.cu for all GPUs it was compiled for, as
 * cuModuleLoadData() takes it. */
struct cuda_image {
    const void *data; /* aligned to 64 */
    uint64_t bytes;
};

/* All of them; the one behind the last has data NULL. Only that one is there in
 * a program built without CUDA. A kernel's name is in one image alone. */
extern const struct cuda_image cuda_images[];

#endif
