/* abi_drv.h - What of drv.h a toolkit's cuda.h says, too: each name below is a
 * number in both. Included by a source of either. */
#ifndef TG_TESTS_KERNELS_ABI_DRV_H
#define TG_TESTS_KERNELS_ABI_DRV_H

#include <stddef.h>
#include <stdint.h>

/* X(expression) of every value, size and offset. */
#define ABI_DRV_ERRORS(X)                                                      \
    X(CUDA_SUCCESS)                                                            \
    X(CUDA_ERROR_INVALID_VALUE)                                                \
    X(CUDA_ERROR_OUT_OF_MEMORY)                                                \
    X(CUDA_ERROR_NOT_INITIALIZED)                                              \
    X(CUDA_ERROR_DEINITIALIZED)                                                \
    X(CUDA_ERROR_STUB_LIBRARY)                                                 \
    X(CUDA_ERROR_DEVICE_UNAVAILABLE)                                           \
    X(CUDA_ERROR_NO_DEVICE)                                                    \
    X(CUDA_ERROR_INVALID_DEVICE)                                               \
    X(CUDA_ERROR_INVALID_IMAGE)                                                \
    X(CUDA_ERROR_INVALID_CONTEXT)                                              \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU)                                            \
    X(CUDA_ERROR_INVALID_PTX)                                                  \
    X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION)                                      \
    X(CUDA_ERROR_INVALID_HANDLE)                                               \
    X(CUDA_ERROR_NOT_FOUND)                                                    \
    X(CUDA_ERROR_NOT_READY)                                                    \
    X(CUDA_ERROR_ILLEGAL_ADDRESS)                                              \
    X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)                                      \
    X(CUDA_ERROR_LAUNCH_FAILED)                                                \
    X(CUDA_ERROR_NOT_SUPPORTED)                                                \
    X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)                                       \
    X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)                                   \
    X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)                                   \
    X(CUDA_ERROR_STREAM_CAPTURE_MERGE)                                         \
    X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED)                                     \
    X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED)                                      \
    X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION)                                     \
    X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)                                      \
    X(CUDA_ERROR_CAPTURED_EVENT)                                               \
    X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD)                                  \
    X(CUDA_ERROR_UNKNOWN)

#define ABI_DRV_VALUES(X)                                                      \
    X(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)                                \
    X(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)                                       \
    X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)                            \
    X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)                            \
    X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)                   \
    X(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)                                     \
    X(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)                                      \
    X(CU_FUNC_ATTRIBUTE_NUM_REGS)                                              \
    X(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)                         \
    X(CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)                      \
    X(CU_STREAM_CAPTURE_MODE_GLOBAL)                                           \
    X(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)                                     \
    X(CU_STREAM_CAPTURE_MODE_RELAXED)                                          \
    X(CU_STREAM_NON_BLOCKING)                                                  \
    X(CU_EVENT_DEFAULT)                                                        \
    X(CU_EVENT_BLOCKING_SYNC)                                                  \
    X(CU_EVENT_DISABLE_TIMING)                                                 \
    X(CU_MEMHOSTREGISTER_PORTABLE)                                             \
    X(CU_MEMHOSTALLOC_PORTABLE)                                                \
    X(CU_LAUNCH_ATTRIBUTE_IGNORE)                                              \
    X(CU_LAUNCH_ATTRIBUTE_COOPERATIVE)                                         \
    X(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)

#define ABI_DRV_LAYOUT(X)                                                      \
    X(sizeof(CUdeviceptr))                                                     \
    X(sizeof(CUdevice))                                                        \
    X(sizeof(CUcontext))                                                       \
    X(sizeof(CUmodule))                                                        \
    X(sizeof(CUfunction))                                                      \
    X(sizeof(CUstream))                                                        \
    X(sizeof(CUevent))                                                         \
    X(sizeof(CUgraph))                                                         \
    X(sizeof(CUgraphExec))                                                     \
    X(sizeof(CUresult))                                                        \
    X(sizeof(CUdevice_attribute))                                              \
    X(sizeof(CUfunction_attribute))                                            \
    X(sizeof(CUstreamCaptureMode))                                             \
    X(sizeof(CUlaunchAttributeID))                                             \
    X(sizeof(CUlaunchAttributeValue))                                          \
    X(_Alignof(CUlaunchAttributeValue))                                        \
    X(sizeof(CUlaunchAttribute))                                               \
    X(_Alignof(CUlaunchAttribute))                                             \
    X(offsetof(CUlaunchAttribute, value))                                      \
    X(offsetof(CUlaunchAttributeValue, cooperative))                           \
    X(offsetof(CUlaunchAttributeValue,                                         \
               programmaticStreamSerializationAllowed))                        \
    X(sizeof(CUlaunchConfig))                                                  \
    X(_Alignof(CUlaunchConfig))                                                \
    X(offsetof(CUlaunchConfig, gridDimX))                                      \
    X(offsetof(CUlaunchConfig, gridDimY))                                      \
    X(offsetof(CUlaunchConfig, gridDimZ))                                      \
    X(offsetof(CUlaunchConfig, blockDimX))                                     \
    X(offsetof(CUlaunchConfig, blockDimY))                                     \
    X(offsetof(CUlaunchConfig, blockDimZ))                                     \
    X(offsetof(CUlaunchConfig, sharedMemBytes))                                \
    X(offsetof(CUlaunchConfig, hStream))                                       \
    X(offsetof(CUlaunchConfig, attrs))                                         \
    X(offsetof(CUlaunchConfig, numAttrs))

#define ABI_DRV(X)                                                             \
    ABI_DRV_ERRORS(X)                                                          \
    ABI_DRV_VALUES(X)                                                          \
    ABI_DRV_LAYOUT(X)

/* The numbers of ABI_DRV as the toolkit has them, in its order. */
extern const uint64_t abi_drv_toolkit[];

#endif
