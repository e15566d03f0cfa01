"""What a notebook's cells need not compute again when one name, such as the photograph, changes.

A cell depends on the name if it reads it, or reads what a cell that depends on it has stored, inside functions too.
All others are run once. Later their values are put back, unless an object that a later cell still reads was changed in
place after it was made: then the cells that made and changed it run again. The generators of random numbers are put
where they were; if they stand elsewhere, a cell that draws from them runs again.
"""

import ast
import random
import symtable
import types
import zlib

import numpy as np
import torch

_CONSUMED = ("iterator",)


class Memory:
    """The values that cells stored in the first run; ``space`` is the namespace of every run."""

    def __init__(self, sources: list[str], name: str):
        self.space, self.values, self.random, self.needed = {}, [], [], None
        parts = [[_names(ast.unparse(statement)) for statement in ast.parse(source).body] for source in sources]
        self._names = [[set().union(*kind) for kind in zip(*part, strict=True)] or [set(), set(), set()]
                       for part in parts]
        self._dependent = _dependent(parts, name)
        self._marks, self._changers, self._final = {}, {}, {}

    def start(self) -> None:
        """Begin a run with an empty namespace."""
        self.space.clear()
        self.space["__name__"] = "__main__"

    def recall(self, cell: int) -> bool:
        """Put back what the cell stored, if it need not run."""
        if self.needed is None or cell in self.needed:
            return False
        before, after = self.random[cell]
        if before != after:
            if random_state() != before:
                return False
            _set_random(after)
        self.space.update(self.values[cell])
        return True

    def note(self, cell: int, before: tuple) -> None:
        """Remember what a cell of the first run stored, and what it changed in place."""
        reads, _, stores = self._names[cell]
        self.random.append((before, random_state()))
        self.values.append({name: self.space[name] for name in stores if name in self.space})
        for name in stores:
            self._marks.pop(name, None)
        for name, mark in self._marks.items():
            new = fingerprint(self.space[name])
            if new != mark or (new == _CONSUMED and name in reads):
                self._changers.setdefault(name, set()).add(cell)
            self._marks[name] = new
        if cell not in self._dependent:
            self._marks |= {name: fingerprint(value) for name, value in self.values[cell].items()}

    def finish(self, whole: bool) -> None:
        """End the first run; if it was not ``whole``, nothing is remembered."""
        if not whole:
            self.__dict__.update(values=[], random=[], _marks={}, _changers={})
            return
        needed, known = set(self._dependent), -1
        while known != len(needed):
            known = len(needed)
            for name, cells in self._changers.items():
                if any(name in self._names[cell][0] for cell in needed):
                    needed |= cells | {cell for cell, (_, _, stores) in enumerate(self._names) if name in stores}
        self.needed = needed
        self._final = self._put_back()

    def holds(self) -> bool:
        """Say whether what was put back is still what it was."""
        return self._put_back() == self._final

    def _put_back(self):
        return {(cell, name): fingerprint(value) for cell, stored in enumerate(self.values)
                if cell not in self.needed for name, value in stored.items()}


def _names(source):
    """Return the names that a statement reads, those it reads inside functions, and those it stores."""
    top = symtable.symtable(source, "cell", "exec")
    reads, late, stores = set(), set(), set()
    for symbol in top.get_symbols():
        reads |= {symbol.get_name()} if symbol.is_referenced() else set()
        stores |= {symbol.get_name()} if symbol.is_assigned() or symbol.is_imported() else set()
    inner = list(top.get_children())
    while inner:
        table = inner.pop()
        inner += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_global():
                late |= {symbol.get_name()} if symbol.is_referenced() else set()
                stores |= {symbol.get_name()} if symbol.is_assigned() else set()
    return reads | late, late, stores


def _dependent(cells, name):
    """Return the cells that depend on ``name``, from the names of their statements."""
    ever, known, found = {name}, 0, set()
    while known != len(ever):
        known, now = len(ever), set()
        for cell, statements in enumerate(cells):
            for reads, late, stores in statements:
                if reads & now or late & ever or name in stores:
                    found.add(cell)
                    now |= stores
                    ever |= stores
                else:
                    now -= stores
    return found


def random_state() -> tuple:
    """Return where the generators of random numbers stand."""
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), (kind, keys.tobytes(), *rest), random.getstate()


def _set_random(state):
    ours, (kind, keys, *rest), plain = state
    torch.set_rng_state(torch.frombuffer(bytearray(ours), dtype=torch.uint8))
    np.random.set_state((kind, np.frombuffer(keys, np.uint32), *rest))
    random.setstate(plain)


def fingerprint(value, depth: int = 0):
    """Return what changes when an object is changed in place."""
    def inside(part):
        return fingerprint(part, depth + 1)

    if depth > 8 or isinstance(value, (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)):
        return id(value)
    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
        bits = zlib.crc32(flat.view(-1).view(torch.uint8).numpy()) if flat.numel() else 0
        return tuple(value.shape), value.dtype, value.requires_grad, bits
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value.shape, str(value.dtype), zlib.crc32(np.ascontiguousarray(value))
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, torch.nn.Module):
        parts = [(name, inside(tensor)) for name, tensor in value.state_dict().items()]
        return parts, [(id(part), part.training, len(part._forward_hooks)) for part in value.modules()]
    if isinstance(value, torch.optim.Optimizer):
        return inside(value.state_dict())
    if isinstance(value, dict):
        return [(inside(key), inside(part)) for key, part in value.items()]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, (list, tuple)):
        return [inside(part) for part in value]
    if hasattr(value, "__next__"):
        return _CONSUMED
    if isinstance(value, (str, bytes, int, float, complex, type(None))):
        return value if value == value else "nan"
    if type(value).__module__.split(".")[0] in ("matplotlib", "PIL", "IPython") or hasattr(value, "figure"):
        return id(value)
    return (id(value), inside(vars(value))) if hasattr(value, "__dict__") else id(value)
