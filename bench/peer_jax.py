"""JAX: every cell as a function under lax.scan, compiled by jit; gradients by vjp."""

import jax
import jax.numpy as jnp

from workload import GATES, NotOffered

sigmoid = jax.nn.sigmoid


# ---- cells: (weights, products with x of this step, x, state) to (state, output) ----


def lstm_of(gates, c):
    i, f, g, o = gates
    c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
    h = sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def lstm(w, z, x, state):
    h, c = state
    return lstm_of(jnp.split(z + h @ w["wh"], 4, -1), c)


def lstm_peephole(w, z, x, state):
    h, c = state
    i, f, g, o = jnp.split(z + h @ w["wh"], 4, -1)
    p = w["peephole"]
    new = sigmoid(f + p[1] * c) * c + sigmoid(i + p[0] * c) * jnp.tanh(g)
    h = sigmoid(o + p[2] * new) * jnp.tanh(new)
    return (h, new), h


def lstm_layer_norm(w, z, x, state):
    h, c = state
    z = z + h @ w["wh"]
    z = (z - z.mean(-1, keepdims=True)) * jax.lax.rsqrt(z.var(-1, keepdims=True) + 1e-5) * w["gain"] + w["bias"]
    return lstm_of(jnp.split(z, 4, -1), c)


def gru(w, z, x, state):
    (h,) = state
    zr, zu, zn = jnp.split(z, 3, -1)
    hr, hu, hn = jnp.split(h @ w["wh"] + w["bh"], 3, -1)
    r, u = sigmoid(zr + hr), sigmoid(zu + hu)
    h = u * h + (1 - u) * jnp.tanh(zn + r * hn)
    return (h,), h


def gru_reset_before(w, z, x, state):
    (h,) = state
    n = h.shape[-1]
    r, u = jnp.split(sigmoid(z[:, : 2 * n] + h @ w["wh"]), 2, -1)
    h = u * h + (1 - u) * jnp.tanh(z[:, 2 * n :] + (r * h) @ w["candidate"])
    return (h,), h


def rnn_tanh(w, z, x, state):
    h = jnp.tanh(z + state[0] @ w["wh"])
    return (h,), h


def rnn_relu(w, z, x, state):
    h = jax.nn.relu(z + state[0] @ w["wh"])
    return (h,), h


def sru(w, z, x, state):
    (c,) = state
    z, f, r = jnp.split(z, 3, -1)
    f, r = sigmoid(f), sigmoid(r)
    c = f * c + (1 - f) * z
    return (c,), r * jnp.tanh(c) + (1 - r) * x


STEPS = {f.__name__: f for f in (lstm, lstm_peephole, lstm_layer_norm, gru, gru_reset_before, rnn_tanh, rnn_relu, sru)}


def weights(key, cell, inputs, hidden, dtype):
    n = GATES[cell] * hidden
    dims = {"wx": (inputs, n), "wh": (hidden, n), "b": (n,)}
    if cell == "gru":
        dims["bh"] = (n,)
    if cell == "gru_reset_before":
        dims |= {"wh": (hidden, 2 * hidden), "candidate": (hidden, hidden)}
    if cell == "lstm_peephole":
        dims["peephole"] = (3, hidden)
    if cell == "lstm_layer_norm":
        dims |= {"gain": (n,), "bias": (n,)}
        del dims["b"]
    if cell == "sru":
        del dims["wh"]
    keys = jax.random.split(key, len(dims))
    return {name: jax.random.normal(k, d, dtype) * 0.05 for k, (name, d) in zip(keys, dims.items())}


def layer(cell, w, x, hidden, reverse):
    """All steps of one direction; what does not depend on the state in one product before the scan."""
    z = x @ w["wx"] + w.get("b", 0)
    zero = jnp.zeros((x.shape[1], hidden), x.dtype)
    first = (zero, zero) if cell.startswith("lstm") else (zero,)
    return jax.lax.scan(lambda s, zx: STEPS[cell](w, zx[0], zx[1], s), first, (z, x), reverse=reverse)[1]


def prepare(task, peer):
    """(version, what is one run, 1)"""
    if task.ragged:
        raise NotOffered("lax.scan has no lengths")
    if task.mode == "stream":
        raise NotOffered("streaming is not written for JAX here")
    dtype = {"f32": jnp.float32, "bf16": jnp.bfloat16}[task.dtype]
    key, kx, ky = jax.random.split(jax.random.PRNGKey(1), 3)
    parameters = [
        [weights(k, task.cell, n, task.hidden, dtype) for k in jax.random.split(key, task.directions)] for n in task.layer_inputs()
    ]

    def forward(parameters, x):
        for ways in parameters:
            x = jnp.concatenate([layer(task.cell, w, x, task.hidden, i == 1) for i, w in enumerate(ways)], -1)
        return x

    def value_and_gradients(parameters, x, dy):
        y, pull = jax.vjp(forward, parameters, x)
        return y, pull(dy)

    x = jax.random.normal(kx, (task.time, task.batch, task.input), dtype)
    if not task.train:
        infer = jax.jit(forward)
        return jax.__version__, lambda: jax.block_until_ready(infer(parameters, x)), 1
    dy = jax.random.normal(ky, (task.time, task.batch, task.directions * task.hidden), dtype)
    train = jax.jit(value_and_gradients)
    return jax.__version__, lambda: jax.block_until_ready(train(parameters, x, dy)), 1
