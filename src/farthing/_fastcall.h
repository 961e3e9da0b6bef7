/* What _core.pyx takes from CPython and numpy where Cython under the limited API is slow:
 * an exact numpy.ndarray read through numpy's struct (the array API table is never needed, so
 * numpy is never imported by us), and a method without generic argument parsing. */
#ifndef FARTHING_FASTCALL_H
#define FARTHING_FASTCALL_H

#include <Python.h>
#include <numpy/ndarraytypes.h>

#include "convert.h"

static PyTypeObject *farthing_ndarray_type; /* NULL until somebody has imported numpy */
static PyObject *farthing_name_out, *farthing_name_numpy;

/* 1 where o is exactly a numpy.ndarray. */
static inline int farthing_is_ndarray(PyObject *o) {
    PyObject *numpy, *type;

    if (farthing_ndarray_type)
        return Py_TYPE(o) == farthing_ndarray_type;
    numpy = PyImport_GetModule(farthing_name_numpy);
    if (!numpy) {
        PyErr_Clear();
        return 0;
    }
    type = PyObject_GetAttrString(numpy, "ndarray");
    Py_DECREF(numpy);
    if (!type) { /* another thread is in the middle of importing numpy */
        PyErr_Clear();
        return 0;
    }
    farthing_ndarray_type = (PyTypeObject *)type; /* kept for the life of the process */
    return Py_TYPE(o) == farthing_ndarray_type;
}

/* 1 where o is a numpy.ndarray, of that type or of a subclass. */
static inline int farthing_is_array(PyObject *o) {
    return farthing_is_ndarray(o) ||
           (farthing_ndarray_type && PyType_IsSubtype(Py_TYPE(o), farthing_ndarray_type));
}

/* The data of an exact, aligned, native, contiguous float32 ndarray of shape (length,);
 * NULL for anything else.  `flags`: what else must be set. */
static inline float *farthing_float_vector(PyObject *o, size_t length, int flags) {
    PyArrayObject *array = (PyArrayObject *)o;

    flags |= NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED;
    if (!farthing_is_ndarray(o) || PyArray_NDIM(array) != 1 ||
        (size_t)PyArray_DIM(array, 0) != length || PyArray_TYPE(array) != NPY_FLOAT ||
        !PyArray_CHKFLAGS(array, flags) || !PyArray_ISNOTSWAPPED(array))
        return NULL;
    return (float *)PyArray_DATA(array);
}

static inline ft_element farthing_element_of_dtype(int type) {
    switch (type) {
    case NPY_BOOL: return FT_ELEMENT_BOOL;
    case NPY_INT8: return FT_ELEMENT_I8;
    case NPY_UINT8: return FT_ELEMENT_U8;
    case NPY_SHORT: return FT_ELEMENT_I16;
    case NPY_USHORT: return FT_ELEMENT_U16;
    case NPY_INT: return FT_ELEMENT_I32;
    case NPY_UINT: return FT_ELEMENT_U32;
    case NPY_LONG: return sizeof(long) == 8 ? FT_ELEMENT_I64 : FT_ELEMENT_I32;
    case NPY_ULONG: return sizeof(long) == 8 ? FT_ELEMENT_U64 : FT_ELEMENT_U32;
    case NPY_LONGLONG: return FT_ELEMENT_I64;
    case NPY_ULONGLONG: return FT_ELEMENT_U64;
    case NPY_HALF: return FT_ELEMENT_F16;
    case NPY_FLOAT: return FT_ELEMENT_F32;
    case NPY_DOUBLE: return FT_ELEMENT_F64;
    default: return FT_ELEMENT_OTHER;
    }
}

/* The data of an exact, aligned, native, C-contiguous matrix of `columns` columns of that type, and
 * its rows; NULL for anything else.  `flags`: what else must be set. */
static inline void *farthing_matrix(PyObject *o, ft_element type, size_t columns, int flags,
                                    size_t *rows) {
    PyArrayObject *array = (PyArrayObject *)o;

    flags |= NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED;
    if (!farthing_is_ndarray(o) || PyArray_NDIM(array) != 2 ||
        (size_t)PyArray_DIM(array, 1) != columns ||
        farthing_element_of_dtype(PyArray_TYPE(array)) != type ||
        !PyArray_CHKFLAGS(array, flags) || !PyArray_ISNOTSWAPPED(array))
        return NULL;
    *rows = (size_t)PyArray_DIM(array, 0);
    return PyArray_DATA(array);
}

/* 1 where the keyword names of a call are just ("out",). */
static inline int farthing_only_out(PyObject *names) {
    return PyTuple_Size(names) == 1 && PyTuple_GetItem(names, 0) == farthing_name_out;
}

/* PyObject_GetBuffer of strides and format: 1, or 0 where `o` has no such buffer (numpy's
 * datetimes raise ValueError), or -1 with another exception set. */
static inline int farthing_get_buffer(PyObject *o, Py_buffer *buffer) {
    if (!PyObject_CheckBuffer(o) || PyBytes_Check(o))
        return 0;
    if (!PyObject_GetBuffer(o, buffer, PyBUF_FULL_RO))
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError))
        return -1;
    PyErr_Clear();
    return 0;
}

/* The UTF-8 of a str, kept by it; NULL, without an exception, where it holds a lone surrogate. */
static inline const char *farthing_utf8(PyObject *text, Py_ssize_t *size) {
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, size);

    if (!utf8)
        PyErr_Clear();
    return utf8;
}

/* Once, before anything else here. */
static int farthing_intern_names(void) {
    farthing_name_out = PyUnicode_InternFromString("out");
    farthing_name_numpy = PyUnicode_InternFromString("numpy");
    return farthing_name_out && farthing_name_numpy ? 0 : -1;
}

/* Installs a METH_FASTCALL | METH_KEYWORDS function as a method of `type`; `definition` must live
 * as long as that. */
static int farthing_install_method(PyObject *type, PyMethodDef *definition, const char *name,
                                   void *function, const char *doc) {
    PyObject *method;
    int result;

    definition->ml_name = name;
    definition->ml_meth = (PyCFunction)function;
    definition->ml_flags = METH_FASTCALL | METH_KEYWORDS;
    definition->ml_doc = doc;
    method = PyDescr_NewMethod((PyTypeObject *)type, definition);
    if (!method)
        return -1;
    result = PyObject_SetAttrString(type, name, method);
    Py_DECREF(method);
    return result;
}

#endif
