"""One small class or function a peer: how it is built and how it is called at its fastest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import _networks as networks
import _tflite
import numpy as np
from _measure import Turn, loop, over
from _networks import Network

# ---- products of 8 bits: uint8 x (m, k), int8 w (n, k) ----------------------------------------


class Product(NamedTuple):
    """call() computes; result() is what it computed: int32 where the peer is exact, else float."""

    call: Callable[[], object]
    result: Callable[[], np.ndarray]


def session(data: bytes, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def bound(session, x: np.ndarray, out: np.ndarray):
    """x and out bound to the session's only input and output."""
    binding = session.io_binding()
    name_in, name_out = session.get_inputs()[0].name, session.get_outputs()[0].name
    binding.bind_input(name_in, "cpu", 0, x.dtype.type, x.shape, x.ctypes.data)
    binding.bind_output(name_out, "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)
    return binding


def onnxruntime_product(data: bytes, x: np.ndarray, out: np.ndarray) -> Product:
    run = session(data, 1)
    binding = bound(run, x, out)
    # The binding knows addresses only: the call keeps the arrays.
    return Product(lambda _keep=(x, out): run.run_with_iobinding(binding), lambda: out)


def onnxruntime_integer(x: np.ndarray, w: np.ndarray, *, signed: bool) -> Product:
    data = networks.onnx_integer(w, len(x), signed=signed)
    return onnxruntime_product(data, x, np.empty((len(x), len(w)), np.int32))


def onnxruntime_nbits(x: np.ndarray, w: np.ndarray) -> Product:
    data = networks.onnx_int4(networks.product(w), len(x))
    return onnxruntime_product(data, x.astype(np.float32), np.empty((len(x), len(w)), np.float32))


def litert(x: np.ndarray, w: np.ndarray, form: str) -> Product:
    real = x.astype(np.float32)
    run = _tflite.Interpreter(_tflite.build(networks.product(w), len(x), form, real))
    if form not in ("int8", "int4"):
        run.set(real)
        return Product(run.run, run.get)
    scale, zero = run.in_grid
    run.set(np.clip(np.rint(real / scale) + zero, -128, 127).astype(np.int8))
    scale_out, zero_out = run.grid
    return Product(run.run, lambda: (run.get().astype(np.float32) - zero_out) * scale_out)


def numkong(x: np.ndarray, w: np.ndarray) -> Product:
    """int8 by int8, so x up to 127; the packed weights of its documentation."""
    import numkong as nk

    signed = x.astype(np.int8)
    packed = nk.dots_pack(np.ascontiguousarray(w))
    out = nk.dots_packed(signed, packed)
    return Product(
        lambda: nk.dots_packed(signed, packed, out=out), lambda: np.asarray(out).astype(np.int32)
    )


def torch_integer(x: np.ndarray, w: np.ndarray) -> Product:
    """int8 by int8, so x up to 127."""
    import torch

    torch.set_num_threads(1)
    signed, weights = torch.from_numpy(x.astype(np.int8)), torch.from_numpy(w).t()
    out = torch.empty((len(x), len(w)), dtype=torch.int32)
    return Product(lambda: torch._int_mm(signed, weights, out=out), lambda: out.numpy())


def torch_float(x: np.ndarray, w: np.ndarray) -> Product:
    import torch

    torch.set_num_threads(1)
    real, weights = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(w.astype(np.float32))
    weights, out = weights.t(), torch.empty((len(x), len(w)))
    return Product(lambda: torch.mm(real, weights, out=out), lambda: out.numpy())


def numpy_float(x: np.ndarray, w: np.ndarray) -> Product:
    real, weights = x.astype(np.float32), w.astype(np.float32).T
    out = np.empty((len(x), len(w)), np.float32)
    return Product(lambda: np.matmul(real, weights, out=out), lambda: out)


def openvino(x: np.ndarray, w: np.ndarray, bits: int) -> Product:
    from openvino import Tensor

    network, real = networks.product(w), x.astype(np.float32)
    if bits == 8:
        data = networks.onnx_int8(network, len(x), real, form="U8S8")
    else:
        data = networks.onnx_float(network, len(x))
    request = openvino_model(data, 1).create_infer_request()
    request.set_input_tensor(Tensor(real))
    return Product(request.infer, lambda: request.get_output_tensor().data)


EIGHT_BITS = {
    "onnxruntime U8S8": lambda x, w: onnxruntime_integer(x, w, signed=True),
    "onnxruntime U8U8": lambda x, w: onnxruntime_integer(x, w, signed=False),
    "LiteRT int8": lambda x, w: litert(x, w, "int8"),
    "LiteRT int8 dynamic": lambda x, w: litert(x, w, "int8 dynamic"),
    "numkong int8": numkong,
    "torch int8": torch_integer,
    "openvino int8": lambda x, w: openvino(x, w, 8),
}
FOUR_BITS = {
    "onnxruntime MatMulNBits": onnxruntime_nbits,
    "LiteRT int4": lambda x, w: litert(x, w, "int4"),
    "LiteRT int4 dynamic": lambda x, w: litert(x, w, "int4 dynamic"),
}
FLOATS = {
    "torch fp32": torch_float,
    "numpy fp32": numpy_float,
    "openvino fp32": lambda x, w: openvino(x, w, 32),
}


# ---- networks, numpy in and numpy out --------------------------------------------------------


class Peer(NamedTuple):
    """A turn over batches of rows, and the answer to one of them."""

    turn: Turn
    answer: Callable[[np.ndarray], np.ndarray]


def openvino_model(data: bytes, threads: int):
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
    }
    return core.compile_model(core.read_model(data), "CPU", settings)


def plain(data: bytes, batches: list, threads: int) -> Peer:
    run = session(data, threads)
    names, name = [run.get_outputs()[0].name], run.get_inputs()[0].name

    def call(x):
        return run.run(names, {name: x})[0]

    return Peer(over(batches, call), call)


def io_binding(data: bytes, batches: list, threads: int) -> Peer:
    """Every batch bound beforehand: no array is made in the loop."""
    run = session(data, threads)
    shape = (len(batches[0]), run.get_outputs()[0].shape[1])
    outs = [np.empty(shape, np.float32) for _ in batches]
    bindings = [bound(run, x, out) for x, out in zip(batches, outs, strict=True)]

    def answer(x):
        out = np.empty(shape, np.float32)
        run.run_with_iobinding(bound(run, x, out))
        return out

    # A binding knows addresses only: what is called keeps the arrays.
    kept = [(binding, x, out) for binding, x, out in zip(bindings, batches, outs, strict=True)]
    go = run.run_with_iobinding
    return Peer(over(kept, lambda one: go(one[0])), answer)


def lite(network: Network, batches: list, threads: int, x: np.ndarray, form: str) -> Peer:
    run = _tflite.Interpreter(_tflite.build(network, len(batches[0]), form, x), threads)
    return Peer(over(batches, run), run)


def vino(data: bytes, batches: list, threads: int) -> Peer:
    compiled = openvino_model(data, threads)
    name = compiled.output(0)

    def call(x):
        return compiled(x, share_inputs=True, share_outputs=True)[name]

    return Peer(over(batches, call), call)


def torch_module(network: Network):
    import torch

    parts = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = torch.nn.Linear(weight.shape[1], len(weight))
        linear.weight.data = torch.from_numpy(weight.copy())
        linear.bias.data = torch.from_numpy(bias.copy())
        parts += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*parts[:-1], torch.nn.Sigmoid()).eval()


def torch_network(network: Network, batches: list, threads: int, *, dynamic: bool) -> Peer:
    import torch

    module = torch_module(network)
    if dynamic:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear})

    def call(x):
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    go = over(batches, call)

    def turn(count):
        torch.set_num_threads(threads)
        go(count)

    return Peer(turn, call)


def numpy_network(network: Network, batches: list) -> Peer:
    weights = [np.asfortranarray(weight.T) for weight in network.weights]
    last = len(weights) - 1

    def call(x):
        for i, (weight, bias) in enumerate(zip(weights, network.biases, strict=True)):
            x = x @ weight
            x += bias
            if i < last:
                np.maximum(x, 0, out=x)
        return 1 / (1 + np.exp(-x))

    return Peer(over(batches, call), call)


def sklearn_network(network: Network, batches: list) -> Peer:
    from sklearn.neural_network import MLPClassifier

    hidden = tuple(len(weight) for weight in network.weights[:-1])
    model = MLPClassifier(hidden, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(np.eye(4, network.inputs, dtype=np.float32), [0, 1, 0, 1])
    model.coefs_ = [weight.T.copy() for weight in network.weights]
    model.intercepts_ = [bias.copy() for bias in network.biases]

    def call(x):
        return model.predict_proba(x)[:, 1:]

    return Peer(over(batches, call), call)


def builders(network: Network, batches: list, x: np.ndarray, threads: int = 1) -> dict:
    """A builder of every peer for batches of one shape; x: rows to take ranges from."""
    rows = len(batches[0])

    def of(make: Callable, data: Callable[[], bytes]) -> Callable[[], Peer]:
        return lambda: make(data(), batches, threads)

    def quantized(form: str) -> Callable[[], bytes]:
        return lambda: networks.onnx_int8(network, rows, x, form=form)

    def floats() -> bytes:
        return networks.onnx_float(network, rows)

    found = {
        "onnxruntime fp32, plain": of(plain, floats),
        "onnxruntime fp32, io-binding": of(io_binding, floats),
        "onnxruntime int8 U8S8, io-binding": of(io_binding, quantized("U8S8")),
        "onnxruntime int8 S8S8, io-binding": of(io_binding, quantized("S8S8")),
        "onnxruntime int8 dynamic, io-binding": of(io_binding, quantized("dynamic")),
        "onnxruntime int4, io-binding": of(io_binding, lambda: networks.onnx_int4(network, rows)),
        "OpenVINO fp32": of(vino, floats),
        "OpenVINO int8": of(vino, quantized("U8S8")),
        "torch eager": lambda: torch_network(network, batches, threads, dynamic=False),
        "torch dynamic int8": lambda: torch_network(network, batches, threads, dynamic=True),
    }
    for form in _tflite.FORMS:
        found[f"LiteRT {form}"] = lambda form=form: lite(network, batches, threads, x, form)
    if threads == 1:  # the other two take their threads from the environment
        found["scikit-learn"] = lambda: sklearn_network(network, batches)
        found["numpy by hand"] = lambda: numpy_network(network, batches)
    return found


def product_turn(product: Product) -> Turn:
    return loop(product.call)
