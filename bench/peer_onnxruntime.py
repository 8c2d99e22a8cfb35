"""ONNX Runtime: a model of ONNX's own recurrent operators, made here; inference, and one step with a carried state."""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from workload import NotOffered

# Operator, gates, attributes; ONNX's GRU resets before the product unless it is told otherwise.
OPERATORS = {
    "lstm": ("LSTM", 4, {}),
    "lstm_peephole": ("LSTM", 4, {}),
    "gru": ("GRU", 3, {"linear_before_reset": 1}),
    "gru_reset_before": ("GRU", 3, {}),
    "rnn_tanh": ("RNN", 1, {"activations": ["Tanh"]}),
    "rnn_relu": ("RNN", 1, {"activations": ["Relu"]}),
}


def model(task, states):
    op, gates, attributes = OPERATORS[task.cell]
    d, h, stream = task.directions, task.hidden, task.mode == "stream"
    time = 1 if stream else task.time
    random = np.random.default_rng(1)
    constants, nodes, x = [], [], "x"

    def constant(name, *dims):
        constants.append(numpy_helper.from_array((random.standard_normal(dims) * 0.05).astype(np.float32), name))
        return name

    if "activations" in attributes:
        attributes = {"activations": attributes["activations"] * d}
    for layer, width in enumerate(task.layer_inputs()):
        inputs = [x, constant(f"w{layer}", d, gates * h, width), constant(f"r{layer}", d, gates * h, h), constant(f"b{layer}", d, 2 * gates * h)]
        inputs.append("lengths" if task.ragged else "")
        inputs += ["h", "c"][: len(states)] if stream else ["", ""]
        if task.cell == "lstm_peephole":
            inputs = [*inputs, ""][:7] + [constant(f"p{layer}", d, 3 * h)]
        while not inputs[-1]:
            inputs.pop()
        outputs = [f"y{layer}"] + ([f"{s}_next" for s in states] if stream else [])
        direction = "bidirectional" if task.bidirectional else "forward"
        nodes.append(helper.make_node(op, inputs, outputs, hidden_size=h, direction=direction, **attributes))
        if layer + 1 < task.layers:  # [T,D,B,H] to [T,B,D*H]
            constants.append(numpy_helper.from_array(np.array([time, task.batch, d * h]), f"dims{layer}"))
            nodes.append(helper.make_node("Transpose", [f"y{layer}"], [f"t{layer}"], perm=[0, 2, 1, 3]))
            nodes.append(helper.make_node("Reshape", [f"t{layer}", f"dims{layer}"], [f"x{layer}"]))
            x = f"x{layer}"

    def value(name, dims, dtype=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, dtype, dims)

    inputs = [value("x", [time, task.batch, task.input])]
    outputs = [value(f"y{task.layers - 1}", [time, d, task.batch, h])]
    if task.ragged:
        inputs.append(value("lengths", [task.batch], TensorProto.INT32))
    if stream:
        inputs += [value(s, [d, task.batch, h]) for s in states]
        outputs += [value(f"{s}_next", [d, task.batch, h]) for s in states]
    graph = helper.make_graph(nodes, "peer", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


def stream(session, task, states):
    """Steps whose states go to and fro between two buffers, bound once: nothing is copied or made in Python."""
    steps, dims = 64, (1, task.batch, task.hidden)
    x = ort.OrtValue.ortvalue_from_numpy(np.random.default_rng(2).standard_normal((1, task.batch, task.input)).astype(np.float32))
    y = ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 1, task.batch, task.hidden), np.float32))
    pair = [{s: ort.OrtValue.ortvalue_from_numpy(np.zeros(dims, np.float32)) for s in states} for _ in range(2)]
    bindings = []
    for now, then in (pair, pair[::-1]):
        b = session.io_binding()
        b.bind_ortvalue_input("x", x)
        b.bind_ortvalue_output("y0", y)
        for s in states:
            b.bind_ortvalue_input(s, now[s])
            b.bind_ortvalue_output(f"{s}_next", then[s])
        bindings.append(b)

    def run():
        for _ in range(steps // 2):
            session.run_with_iobinding(bindings[0])
            session.run_with_iobinding(bindings[1])

    return run, steps


def prepare(task, peer):
    """(version, what is one call, how many runs that is)"""
    if task.train:
        raise NotOffered("it does not train")
    if task.cell not in OPERATORS:
        raise NotOffered("ONNX has no such operator")
    if task.dtype != "f32":
        raise NotOffered("its recurrent operators are f32 on a CPU")
    states = ["h", "c"] if OPERATORS[task.cell][0] == "LSTM" else ["h"]
    if task.mode == "stream" and (task.layers > 1 or task.bidirectional):
        raise NotOffered("one layer forwards streams")
    options = ort.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model(task, states), options, providers=["CPUExecutionProvider"])
    if task.mode == "stream":
        return ort.__version__, *stream(session, task, states)
    feed = {"x": np.random.default_rng(2).standard_normal((task.time, task.batch, task.input)).astype(np.float32)}
    if task.ragged:
        feed["lengths"] = np.array(task.row_lengths(), np.int32)
    return ort.__version__, lambda: session.run(None, feed), 1
