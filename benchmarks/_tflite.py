"""Networks as .tflite files, built with the schema that ai-edge-litert ships.

Forms: "float32"; "int8" and "int4", static, with 8-bit activations between the layers; "int8
dynamic" and "int4 dynamic", float activations that are quantized for every product.
"""

from __future__ import annotations

import numpy as np
from _networks import Network

FORMS = ("float32", "int8", "int8 dynamic", "int4", "int4 dynamic")


class _File:
    """One subgraph in the making."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = 3, b"benchmark"
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name, shape, kind: str, data=None, scale=None, zero=0) -> int:
        schema = self.schema
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), list(shape)
        tensor.type = getattr(schema.TensorType, kind)
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale is not None:
            scale = np.atleast_1d(np.asarray(scale, np.float32))
            quantized = schema.QuantizationParametersT()
            quantized.scale = scale
            quantized.zeroPoint = np.full(len(scale), zero, np.int64)
            quantized.quantizedDimension = 0
            tensor.quantization = quantized
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs, output: int, options=None, kind=None, version=1) -> None:
        schema = self.schema
        code = schema.OperatorCodeT()
        builtin = getattr(schema.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
        code.version = version
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self.graph.operators.append(operator)

    def bytes(self, x: int, p: int) -> bytes:
        import flatbuffers

        self.graph.inputs, self.graph.outputs = [x], [p]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _codes(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers by channel, as stored, and their scales."""
    most = 127 if bits == 8 else 7
    scales = np.abs(weight).max(axis=1) / most
    scales[scales == 0] = 1.0
    codes = np.rint(weight / scales[:, None]).astype(np.int8)
    if bits == 8:
        return codes, scales
    flat = codes.reshape(-1).view(np.uint8) & 15
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[::2] | flat[1::2] << 4, scales


def _grid(values: np.ndarray) -> tuple[float, int]:
    """Scale and zero point of int8 values that reach from the least to the greatest, 0 included."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = max(high - low, 1e-6) / 255
    return scale, round(-128 - low / scale)


def build(network: Network, rows: int, form: str, x: np.ndarray | None = None) -> bytes:
    """float32 (rows, k) in and (rows, n) out; a static network takes its ranges from x.  A static
    product alone (one layer without sigmoid) is int8 in and out instead, on the grids of x."""
    bits = {"float32": 32, "int8": 8, "int4": 4}[form.split()[0]]
    static = form in ("int8", "int4")
    bare = static and len(network.weights) == 1 and not network.sigmoid
    file = _File()
    grids = [_grid(values) for values in network.values(x)] if static else []
    kind = "INT8" if static else "FLOAT32"

    def between(name: str, width: int, i: int) -> int:
        scale, zero = grids[i] if static else (None, 0)
        return file.tensor(name, (rows, width), kind, scale=scale, zero=zero)

    source = value = between("x", network.inputs, 0)
    if static and not bare:
        source = file.tensor("float", (rows, network.inputs), "FLOAT32")
        file.operator("QUANTIZE", [source], value)
    last = len(network.weights) - 1
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        n, k = weight.shape
        if bits == 32:
            w = file.tensor(f"w{i}", (n, k), "FLOAT32", weight.astype(np.float32))
        else:
            codes, scales = _codes(weight, bits)
            w = file.tensor(f"w{i}", (n, k), f"INT{bits}", codes, scale=scales)
        if static:
            scales = grids[i][0] * scales
            b = file.tensor(f"b{i}", (n,), "INT32", np.rint(bias / scales).astype(np.int32), scales)
        else:
            b = file.tensor(f"b{i}", (n,), "FLOAT32", bias.astype(np.float32))
        options = file.schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = int(i < last)  # NONE or RELU
        options.asymmetricQuantizeInputs = bits < 32 and not static
        out = between(f"a{i}", n, i + 1)
        file.operator(
            "FULLY_CONNECTED", [value, w, b], out, options, "FullyConnectedOptions", version=9
        )
        value = out
    if network.sigmoid:
        scale, zero = (1 / 256, -128) if static else (None, 0)
        shape = (rows, network.outputs)
        squashed = file.tensor("p", shape, kind, scale=scale, zero=zero)
        file.operator("LOGISTIC", [value], squashed)
        value = squashed
    if static and not bare:
        out = file.tensor("answer", (rows, network.outputs), "FLOAT32")
        file.operator("DEQUANTIZE", [value], out)
        value = out
    return file.bytes(source, value)


class Interpreter:
    """LiteRT with XNNPACK on such a file; what it reads and writes without more than a copy."""

    def __init__(self, data: bytes, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=data, num_threads=threads)
        self._interpreter.allocate_tensors()
        inner = self._interpreter._interpreter  # without the checks of the class around it
        self.x = self._interpreter.get_input_details()[0]["index"]
        self.p = self._interpreter.get_output_details()[0]["index"]
        self.grid = self._interpreter.get_output_details()[0]["quantization"]
        self.in_grid = self._interpreter.get_input_details()[0]["quantization"]
        self._set, self.run, self._get = inner.SetTensor, inner.Invoke, inner.GetTensor

    def set(self, x: np.ndarray) -> None:
        self._set(self.x, x, 0)

    def get(self) -> np.ndarray:
        return self._get(self.p, 0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self._set(self.x, x, 0)
        self.run()
        return self._get(self.p, 0)
