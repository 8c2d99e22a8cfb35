#!/usr/bin/env python3
"""Writes tests/vectors/updaters/*.safetensors: weights after each of 60 updates, in f64, by PyTorch or by the formula itself.

Needs numpy and torch:  python3 make_updaters.py [FOLDER]
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np
import torch

STEPS = 60
torch.set_default_dtype(torch.float64)  # step counts and products of momenta too
random = np.random.default_rng(7)
W = random.normal(size=(2, 3))
# Of several sizes, so that epsilon, maxima and signs matter.
GRADIENTS = random.normal(size=(STEPS, 2, 3)) * np.array([1e-6, 1e-3, 0.1, 1, 10, 100]).reshape(2, 3)
GRADIENTS[::7] *= -0.3
# Falls, stays, falls again: where a plateau begins depends on patience and cooldown.
LOSSES = np.concatenate([np.linspace(2, 1, 12), np.full(20, 1.0), np.linspace(0.99, 0.6, 8), np.full(20, 0.6)])
LOSSES += 1e-3 * random.normal(size=STEPS)


# ---- updaters ------------------------------------------------------------------------------------

def by_torch(make, pull=None):
    """Weights after each step of a torch.optim optimiser; pull(w) is added to the gradient."""
    def run(_):
        w = torch.nn.Parameter(torch.tensor(W))
        optimizer = make([w])
        after = []
        for g in GRADIENTS:
            w.grad = torch.tensor(g)
            if pull:
                w.grad += pull(w.detach())
            optimizer.step()
            after.append(w.detach().numpy().copy())
        return np.stack(after)
    return run


def by_formula(step):
    """Weights after each step of `step(config, w, g, t, state) -> w`."""
    def run(config):
        w, state, after = W.copy(), {}, []
        for t, g in enumerate(GRADIENTS, 1):
            w = step(config, w, g, t, state)
            after.append(w)
        return np.stack(after)
    return run


def adabelief(c, w, g, t, s):
    """Zhuang et al. (2020), algorithm 2."""
    m = s["m"] = c["beta1"] * s.get("m", 0) + (1 - c["beta1"]) * g
    v = s["s"] = c["beta2"] * s.get("s", 0) + (1 - c["beta2"]) * (g - m) ** 2 + c["epsilon"]
    return w - c["learning_rate"] * m / (1 - c["beta1"] ** t) / (np.sqrt(v / (1 - c["beta2"] ** t)) + c["epsilon"])


def sgd_decayed(c, w, g, t, s):
    """Loshchilov and Hutter (2019), algorithm 1, SGDW with momentum in PyTorch's form."""
    v = s["v"] = c["momentum"] * s.get("v", 0) + g
    return w - c["learning_rate"] * v - c["learning_rate"] * 0.03 * w


O = torch.optim
ONE = dict(foreach=False)
UPDATERS = {
    "sgd": (dict(learning_rate=0.05, momentum=0.0), by_torch(lambda p: O.SGD(p, lr=0.05, **ONE))),
    "momentum": (dict(updater="sgd", learning_rate=0.05, momentum=0.8), by_torch(lambda p: O.SGD(p, lr=0.05, momentum=0.8, **ONE))),
    "nesterov": (dict(learning_rate=0.05, momentum=0.9), by_torch(lambda p: O.SGD(p, lr=0.05, momentum=0.9, nesterov=True, **ONE))),
    "adagrad": (dict(learning_rate=0.03, initial=0.0, epsilon=1e-10), by_torch(lambda p: O.Adagrad(p, lr=0.03, **ONE))),
    "adagrad_initial": (dict(updater="adagrad", learning_rate=0.03, initial=0.1, epsilon=1e-4),
                        by_torch(lambda p: O.Adagrad(p, lr=0.03, initial_accumulator_value=0.1, eps=1e-4, **ONE))),
    "rmsprop": (dict(learning_rate=0.02, decay=0.95, momentum=0.0, centered=False, epsilon=1e-8),
                by_torch(lambda p: O.RMSprop(p, lr=0.02, alpha=0.95, **ONE))),
    "rmsprop_momentum": (dict(updater="rmsprop", learning_rate=0.02, decay=0.9, momentum=0.7, centered=False, epsilon=1e-3),
                         by_torch(lambda p: O.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.7, eps=1e-3, **ONE))),
    "rmsprop_centered": (dict(updater="rmsprop", learning_rate=0.02, decay=0.9, momentum=0.5, centered=True, epsilon=1e-4),
                         by_torch(lambda p: O.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.5, centered=True, eps=1e-4, **ONE))),
    "adadelta": (dict(learning_rate=1.0, decay=0.9, epsilon=1e-6), by_torch(lambda p: O.Adadelta(p, **ONE))),
    "adadelta_rate": (dict(updater="adadelta", learning_rate=0.3, decay=0.95, epsilon=1e-4),
                      by_torch(lambda p: O.Adadelta(p, lr=0.3, rho=0.95, eps=1e-4, **ONE))),
    "adam": (dict(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8), by_torch(lambda p: O.Adam(p, lr=0.01, **ONE))),
    "adam_epsilon": (dict(updater="adam", learning_rate=0.01, beta1=0.8, beta2=0.95, epsilon=1e-2),
                     by_torch(lambda p: O.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-2, **ONE))),
    "adamax": (dict(learning_rate=0.02, beta1=0.9, beta2=0.95, epsilon=1e-3),
               by_torch(lambda p: O.Adamax(p, lr=0.02, betas=(0.9, 0.95), eps=1e-3, **ONE))),
    "amsgrad": (dict(learning_rate=0.01, beta1=0.9, beta2=0.9, epsilon=1e-8),
                by_torch(lambda p: O.Adam(p, lr=0.01, betas=(0.9, 0.9), amsgrad=True, **ONE))),
    "nadam": (dict(learning_rate=0.02, beta1=0.9, beta2=0.999, momentum_decay=4e-3, epsilon=1e-8),
              by_torch(lambda p: O.NAdam(p, lr=0.02, **ONE))),
    "nadam_decay": (dict(updater="nadam", learning_rate=0.02, beta1=0.8, beta2=0.99, momentum_decay=0.05, epsilon=1e-4),
                    by_torch(lambda p: O.NAdam(p, lr=0.02, betas=(0.8, 0.99), momentum_decay=0.05, eps=1e-4, **ONE))),
    "adamw": (dict(learning_rate=0.01, beta1=0.9, beta2=0.999, weight_decay=0.1, epsilon=1e-8),
              by_torch(lambda p: O.AdamW(p, lr=0.01, weight_decay=0.1, **ONE))),
    "adabelief": (dict(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-16), by_formula(adabelief)),
    "adabelief_epsilon": (dict(updater="adabelief", learning_rate=0.01, beta1=0.8, beta2=0.9, epsilon=1e-3), by_formula(adabelief)),
    # What is added to gradients or taken from weights; the options stand beside the configuration.
    "l2": (dict(updater="adam", learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8, options=dict(l2=0.3)),
           by_torch(lambda p: O.Adam(p, lr=0.01, weight_decay=0.3, **ONE))),
    "l1": (dict(updater="sgd", learning_rate=0.05, momentum=0.5, options=dict(l1=0.2)),
           by_torch(lambda p: O.SGD(p, lr=0.05, momentum=0.5, **ONE), lambda w: 0.2 * torch.sign(w))),
    "weight_decay": (dict(updater="sgd", learning_rate=0.05, momentum=0.5, options=dict(weight_decay=0.03)), by_formula(sgd_decayed)),
}


# ---- schedules: SGD on gradients of 1 gives minus the sum of the rates -----------------------------

def rates_by_torch(rate, make, losses=None):
    def run(_):
        optimizer = O.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
        scheduler = make(optimizer)
        rates = []
        for k in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step(*([] if losses is None else [losses[k]]))
        return np.array(rates)
    return run


def rates_by_formula(f):
    return lambda c: np.array([f(c, t) for t in range(STEPS)])


def sequence(first, second, at):
    return lambda o: L.SequentialLR(o, [first(o), second(o)], [at])


L = torch.optim.lr_scheduler
PLATEAU = dict(factor=0.4, patience=3, threshold=1e-2, every=1, cooldown=4, least=1e-3)
COSINE = dict(to=0.01, steps=16, restarts=False, growth=1)
SCHEDULES = {
    "step": (dict(**{"from": 0.5}, factor=0.5, every=9), rates_by_torch(0.5, lambda o: L.StepLR(o, 9, 0.5))),
    "exponential": (dict(**{"from": 0.5}, factor=0.93, every=1), rates_by_torch(0.5, lambda o: L.ExponentialLR(o, 0.93))),
    "exponential_every": (dict(schedule="exponential", **{"from": 0.5}, factor=0.5, every=20),
                          rates_by_formula(lambda c, t: c["from"] * c["factor"] ** (t / c["every"]))),
    "inverse": (dict(**{"from": 0.5}, gamma=0.1, power=0.75),
                rates_by_formula(lambda c, t: c["from"] / (1 + c["gamma"] * t) ** c["power"])),
    "polynomial": (dict(**{"from": 0.5}, to=0.0, steps=40, power=2.0), rates_by_torch(0.5, lambda o: L.PolynomialLR(o, 40, 2.0))),
    "polynomial_to": (dict(schedule="polynomial", **{"from": 0.5}, to=0.02, steps=45, power=0.5),
                      rates_by_formula(lambda c, t: c["to"] + (c["from"] - c["to"]) * (1 - min(t, 45) / 45) ** c["power"])),
    "cosine": (dict(**{"from": 0.5}, to=0.01, steps=59, restarts=False, growth=1),
               rates_by_torch(0.5, lambda o: L.CosineAnnealingLR(o, 59, 0.01))),
    "cosine_end": (dict(schedule="cosine", **{"from": 0.5}, **COSINE),
                   rates_by_formula(lambda c, t: 0.01 + 0.49 * (1 + math.cos(math.pi * min(t, 16) / 16)) / 2)),
    "cosine_restarts": (dict(schedule="cosine", **{"from": 0.5}, **{**COSINE, "restarts": True}),
                        rates_by_torch(0.5, lambda o: L.CosineAnnealingWarmRestarts(o, 16, 1, 0.01))),
    "cosine_growth": (dict(schedule="cosine", **{"from": 0.5}, **{**COSINE, "steps": 5, "restarts": True, "growth": 3}),
                      rates_by_torch(0.5, lambda o: L.CosineAnnealingWarmRestarts(o, 5, 3, 0.01))),
    "cyclic": (dict(low=0.01, high=0.5, up=8, down=0, shrink=1.0),
               rates_by_torch(0.01, lambda o: L.CyclicLR(o, 0.01, 0.5, 8, cycle_momentum=False))),
    "cyclic_shrink": (dict(schedule="cyclic", low=0.01, high=0.5, up=4, down=9, shrink=0.5),
                      rates_by_torch(0.01, lambda o: L.CyclicLR(o, 0.01, 0.5, 4, 9, mode="triangular2", cycle_momentum=False))),
    "warm_up": (dict(steps=10, share=0.1, then=0.5), rates_by_torch(0.5, lambda o: L.LinearLR(o, 0.1, 1.0, 10))),
    "warm_up_then": (dict(schedule="warm_up", steps=12, share=0.25, **{
        "then/schedule": "step", "then/from": 0.5, "then/factor": 0.5, "then/every": 9}),
        rates_by_torch(0.5, sequence(lambda o: L.LinearLR(o, 0.25, 1.0, 12), lambda o: L.StepLR(o, 9, 0.5), 12))),
    "plateau": (dict(**{"from": 0.5}, **PLATEAU), rates_by_torch(0.5, lambda o: L.ReduceLROnPlateau(
        o, factor=0.4, patience=3, threshold=1e-2, cooldown=4, min_lr=1e-3), LOSSES)),
    "plateau_least": (dict(schedule="plateau", **{"from": 0.5}, **{**PLATEAU, "patience": 0, "cooldown": 0, "least": 0.03}),
                      rates_by_torch(0.5, lambda o: L.ReduceLROnPlateau(
                          o, factor=0.4, patience=0, threshold=1e-2, min_lr=0.03), LOSSES)),
}


def plateau_of_means(_):
    """As torch steps it once an epoch: on the mean of 5 losses."""
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = O.SGD([p], lr=0.5)
    scheduler = L.ReduceLROnPlateau(optimizer, factor=0.4, patience=1, threshold=1e-2, min_lr=0)
    rates = []
    for k in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        if k % 5 == 4:
            scheduler.step(LOSSES[k - 4:k + 1].mean())
    return np.array(rates)


SCHEDULES["plateau_every"] = (dict(schedule="plateau", **{"from": 0.5}, **{
    **PLATEAU, "patience": 1, "every": 5, "cooldown": 0, "least": 0.0}), plateau_of_means)


# ---- files ---------------------------------------------------------------------------------------

def save(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, t in sorted(tensors.items()):
        raw = np.ascontiguousarray(t, dtype="<f8").tobytes()
        header[name] = {"dtype": "F64", "shape": list(np.shape(t)), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "updaters")
    folder.mkdir(exist_ok=True)
    source = f"tests/vectors/make_updaters.py: torch {torch.__version__.split('+')[0]}, numpy {np.__version__}"
    for name, (config, run) in UPDATERS.items():
        options = config.pop("options", {})
        config = {"updater": name, **config}
        save(folder / f"{name}.safetensors", {"in.w": W, "in.gradients": GRADIENTS, "out.w": run(config)},
             {"op": "updater", "config": json.dumps(config), "options": json.dumps(options), "source": source})
    for name, (config, run) in SCHEDULES.items():
        config = {"schedule": name, **config}
        flat = {"updater": "sgd", "momentum": 0.0, **{f"learning_rate/{k}": v for k, v in config.items()}}
        rates = run(config)
        assert len(set(rates)) > 2
        save(folder / f"schedule_{name}.safetensors",
             {"in.w": np.zeros(1), "in.gradients": np.ones((STEPS, 1)), "in.losses": LOSSES, "out.w": -np.cumsum(rates).reshape(STEPS, 1)},
             {"op": "updater", "config": json.dumps(flat), "options": "{}", "source": source})
    print(len(UPDATERS), "updaters,", len(SCHEDULES), "schedules")


main()
