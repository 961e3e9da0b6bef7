"""Networks in the formats of the peers: ONNX graphs and .tflite files, in 32, 8 and 4 bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """Dense layers, ReLU between them; weights (n, k), biases (n,)."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    sigmoid: bool  # on the last layer's output

    @property
    def inputs(self) -> int:
        return self.weights[0].shape[1]

    @property
    def outputs(self) -> int:
        return self.weights[-1].shape[0]

    def values(self, x: np.ndarray) -> list[np.ndarray]:
        """The input and what each layer gives, before the sigmoid of the last."""
        found = [x]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = found[-1] @ weight.T + bias
            found.append(np.maximum(z, 0) if i + 1 < len(self.weights) else z)
        return found

    def __call__(self, x: np.ndarray) -> np.ndarray:
        z = self.values(x)[-1]
        return 1 / (1 + np.exp(-z)) if self.sigmoid else z


def product(weights: np.ndarray) -> Network:
    """One matrix product: no bias, no activation."""
    return Network([weights.astype(np.float32)], [np.zeros(len(weights), np.float32)], False)


# ---- ONNX -----------------------------------------------------------------------------------


def _model(nodes, initializers, inputs: tuple, outputs: tuple) -> bytes:
    """inputs, outputs: (name, ONNX type, shape)."""
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(*inputs)],
        [helper.make_tensor_value_info(*outputs)],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def onnx_float(network: Network, rows: int) -> bytes:
    """Gemm, Relu, Sigmoid; input "x" (rows, k), output "p" (rows, n)."""
    from onnx import TensorProto, helper

    nodes, tensors, value, last = [], {}, "x", len(network.weights) - 1
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors |= {f"w{i}": weight, f"b{i}": bias}
        target = "p" if i == last and not network.sigmoid else f"z{i}"
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [target], transB=1))
        if target != "p":
            value = "p" if i == last else f"a{i}"
            nodes.append(helper.make_node("Sigmoid" if i == last else "Relu", [target], [value]))
    x, p = (rows, network.inputs), (rows, network.outputs)
    return _model(nodes, tensors, ("x", TensorProto.FLOAT, x), ("p", TensorProto.FLOAT, p))


def onnx_int4(network: Network, rows: int, block: int = 32) -> bytes:
    """MatMulNBits, whose activations may be 8-bit too (accuracy level 4), Add, Relu, Sigmoid."""
    from onnx import TensorProto, helper

    nodes, tensors, value, last = [], {}, "x", len(network.weights) - 1
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        codes, scales = nibbles(weight, block)
        tensors |= {f"w{i}": codes, f"s{i}": scales.reshape(-1), f"b{i}": bias}
        n, k = weight.shape
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                [value, f"w{i}", f"s{i}"],
                [f"y{i}"],
                domain="com.microsoft",
                K=k,
                N=n,
                bits=4,
                block_size=block,
                accuracy_level=4,
            )
        )
        target = "p" if i == last and not network.sigmoid else f"z{i}"
        nodes.append(helper.make_node("Add", [f"y{i}", f"b{i}"], [target]))
        if target != "p":
            value = "p" if i == last else f"a{i}"
            nodes.append(helper.make_node("Sigmoid" if i == last else "Relu", [target], [value]))
    x, p = (rows, network.inputs), (rows, network.outputs)
    return _model(nodes, tensors, ("x", TensorProto.FLOAT, x), ("p", TensorProto.FLOAT, p))


def nibbles(weight: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """As MatMulNBits has them: uint8 (n, blocks, block / 2), where 8 is 0; scales (n, blocks)."""
    n, k = weight.shape
    blocks = -(-k // block)
    padded = np.zeros((n, blocks * block), np.float32)
    padded[:, :k] = weight
    padded = padded.reshape(n, blocks, block)
    scales = np.maximum(np.abs(padded).max(axis=2), 1e-30) / 7
    codes = (np.rint(padded / scales[..., None]) + 8).astype(np.uint8)
    return codes[..., ::2] | codes[..., 1::2] << 4, scales


def onnx_integer(weights: np.ndarray, rows: int, *, signed: bool) -> bytes:
    """MatMulInteger of uint8 "x" and int8 weights, or the same weights as uint8 around 128."""
    from onnx import TensorProto, helper

    n, k = weights.shape
    stored = weights.T if signed else (weights.T.astype(np.int16) + 128).astype(np.uint8)
    tensors = {
        "w": np.ascontiguousarray(stored),
        "zero": np.zeros((), np.uint8),
        "middle": np.array(0 if signed else 128, stored.dtype),
    }
    nodes = [helper.make_node("MatMulInteger", ["x", "w", "zero", "middle"], ["p"])]
    x, p = ("x", TensorProto.UINT8, (rows, k)), ("p", TensorProto.INT32, (rows, n))
    return _model(nodes, tensors, x, p)


def onnx_int8(network: Network, rows: int, x: np.ndarray, *, form: str) -> bytes:
    """Quantized by onnxruntime's own tools: "dynamic", or static with quantize and dequantize
    nodes, activations "U8S8" or "S8S8", weights by channel, ranges from the rows of x."""
    import logging
    import tempfile
    from pathlib import Path

    import onnxruntime.quantization as tools

    class Rows(tools.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{"x": x[i : i + rows]} for i in range(0, len(x) - rows + 1, rows)])

        def get_next(self):
            return next(self.batches, None)

    logging.getLogger().setLevel(logging.ERROR)  # advice about preprocessing
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(onnx_float(network, rows))
        if form == "dynamic":
            tools.quantize_dynamic(source, target, per_channel=True)
        else:
            kind = tools.QuantType.QUInt8 if form == "U8S8" else tools.QuantType.QInt8
            tools.quantize_static(
                source,
                target,
                Rows(),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                activation_type=kind,
                weight_type=tools.QuantType.QInt8,
            )
        return target.read_bytes()
