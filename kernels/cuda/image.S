/* image.S - The images of image.h. CUDA_IMAGES is a list of "image NAME;", which
 * local.mk gives; each is the file kernels/cuda/NAME.fatbin of the build. */
#ifndef CUDA_IMAGES
#define CUDA_IMAGES
#endif

    .macro image name
    .section .rodata
    .balign 64
image_\name:
    .incbin "kernels/cuda/\name\().fatbin"
image_\name\()_end:
    .section .data.rel.ro, "aw"
    .quad image_\name
    .quad image_\name\()_end - image_\name
    .endm

    .section .data.rel.ro, "aw"
    .balign 8
    .globl cuda_images
    .type cuda_images, @object
cuda_images:
    CUDA_IMAGES
    .quad 0
    .quad 0
    .size cuda_images, . - cuda_images

    .section .note.GNU-stack, "", @progbits
