/* model_fault.h - Sentences that tell why a model file was refused. */
#ifndef TG_ENGINE_MODEL_FAULT_H
#define TG_ENGINE_MODEL_FAULT_H

#include "base/err.h"
#include "base/str.h"
#include "engine/model.h"

/* Most bytes of a name from a file that a sentence shows. */
#define MODEL_SHOW_SIZE 100

/* A name from a file, made fit for a sentence: by value. */
struct model_shown {
    char text[MODEL_SHOW_SIZE];
};

/* Write a sentence into <why> and return <e>: `return model_fail(...)`. Text
 * that does not fit is cut. */
enum err model_fail(struct model_fault *why, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "<place>: " before the sentence of <why>; a long place keeps its end. */
void model_fault_place(struct model_fault *why, const char *place);

/* <name> with bytes that are not printable ASCII shown as '?', cut to fit. */
struct model_shown model_show(struct str name);

#endif
