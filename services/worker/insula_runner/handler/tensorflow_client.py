"""The `tensorflow_client` of a handler of the type tensorflow: runs the SavedModels that the supervisor fetched.

Cortex' client called TensorFlow Serving; this one runs the models in the handler's process. The arguments, the results
and the errors of `predict` are the same: a flat list for each output, with the numbers of Serving's JSON.
"""

from __future__ import annotations

import base64
import importlib
import math
import os
from typing import Any, Dict, List, Mapping, MutableMapping, NamedTuple, Optional, Tuple, Union, cast

LATEST = "latest"
ONLY_MODEL = "_cortex_default"  # the name of the model in `models.path`; user code does not use it
PREFERRED_SIGNATURE = "predict"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # otherwise TensorFlow prints a page about the processor at every start


class ModelOrder(NamedTuple):
    """The models of a start frame. `folder` holds <name>/<version>/saved_model.pb for each of them.

    `signature_keys` maps the name of each model to its signature; None if the configuration names no signature.
    """

    folder: str
    signature_keys: Dict[str, Optional[str]]


class ModelInvalid(ValueError):
    """A model cannot be loaded, or has no signature to call."""


class LoadedModel(NamedTuple):
    """One loaded version of a model. `function` is the signature that `predict` calls."""

    title: str
    signature_key: str
    function: Any
    keeps: Any  # without a reference to the model TensorFlow frees its variables, even during a call


class TensorFlowClient:
    """Loads the latest version of each model at the start, other versions at their first use."""

    def __init__(self, order: ModelOrder, environment: MutableMapping[str, str]) -> None:
        """Find and load the models. Raises ModelInvalid, and ImportError if TensorFlow is not installed."""
        for name, value in QUIET.items():
            environment.setdefault(name, value)
        self._tensorflow: Any = importlib.import_module("tensorflow")
        self._order = order
        self._versions = {name: versions_in(os.path.join(order.folder, name)) for name in order.signature_keys}
        self._loaded: Dict[Tuple[str, str], LoadedModel] = {}
        for name, versions in self._versions.items():
            self._model(name, versions[-1])

    def predict(
        self, model_input: Any, model_name: Optional[str] = None, model_version: str = LATEST
    ) -> Dict[str, Any]:
        """Run one model and return a flat list for each of its outputs.

        `model_input` maps the signature's inputs to values. `model_name` is not needed with `models.path`.
        `model_version` is a number or "latest". Raises ValueError if an argument is wrong, or if the model cannot
        compute the input.
        """
        version = str(model_version)
        if version != LATEST and not version.isdecimal():
            raise ValueError("model_version must be either a parse-able numeric value or 'latest'")
        name = self._chosen(model_name)
        model = self._model(name, self._version(name, version))
        inputs = self._tensors(model, model_input)
        try:
            outputs = model.function(**inputs)
        except self._tensorflow.errors.OpError as error:
            shapes = ", ".join(f"{key}: {list(tensor.shape)}" for key, tensor in inputs.items())
            raise ValueError(f"{model.title} cannot compute inputs of the shapes {{{shapes}}}: {error}") from error
        return {key: flat_list(tensor.numpy(), tensor.dtype.name) for key, tensor in outputs.items()}

    def _chosen(self, model_name: Optional[str]) -> str:
        if ONLY_MODEL in self._versions:
            return ONLY_MODEL
        if model_name is None:
            raise ValueError(f"model_name was not specified, choose one of the following: {list(self._versions)}")
        if model_name not in self._versions:
            raise ValueError(f"'{model_name}' model wasn't found in the list of available models")
        return model_name

    def _version(self, name: str, version: str) -> str:
        versions = self._versions[name]
        if version == LATEST:
            return versions[-1]
        found = [each for each in versions if int(each) == int(version)]
        if not found:
            raise ValueError(f"{title(name)} has no version {version}, choose one of the following: {versions}")
        return found[0]

    def _model(self, name: str, version: str) -> LoadedModel:
        if (name, version) not in self._loaded:
            self._loaded[name, version] = self._load(name, version)
        return self._loaded[name, version]

    def _load(self, name: str, version: str) -> LoadedModel:
        shown = f"{title(name)} of version '{version}'"
        try:
            model = self._tensorflow.saved_model.load(os.path.join(self._order.folder, name, version))
        except Exception as error:  # TensorFlow raises many kinds for an invalid file
            raise ModelInvalid(f"{shown} cannot be loaded: {type(error).__name__}: {error}") from error
        key = choose_signature(list(model.signatures), self._order.signature_keys[name], shown)
        return LoadedModel(shown, key, model.signatures[key], model)

    def _tensors(self, model: LoadedModel, model_input: object) -> Dict[str, Any]:
        where = f"for {model.title} for signature key '{model.signature_key}'"
        if not isinstance(model_input, Mapping):
            kind = type(model_input)
            raise ValueError(f"model_input must be a dictionary {where}, got {kind}")  # noqa: TRY004 - one error for all
        given = cast("Mapping[str, Any]", model_input)
        specs: Dict[str, Any] = model.function.structured_input_signature[1]
        for key in specs:
            if key not in given:
                raise ValueError(f"missing key '{key}' {where}")
        for key in given:
            if key not in specs:
                raise ValueError(f"unexpected key '{key}' {where}, whose inputs are {sorted(specs)}")
        return {key: self._tensor(key, given[key], spec) for key, spec in specs.items()}

    def _tensor(self, key: str, value: Any, spec: Any) -> Any:
        try:
            return self._tensorflow.constant(value, dtype=spec.dtype)
        except (TypeError, ValueError) as error:
            expected = f"expected shape {spec.shape} of {spec.dtype.name}"
            raise ValueError(f'key "{key}": {expected}: {error}') from error


def title(name: str) -> str:
    """Return the name of a model as it is written in error texts."""
    return "the model" if name == ONLY_MODEL else f"model '{name}'"


def versions_in(folder: str) -> List[str]:
    """Return the versions of the model in `folder`, the latest last. Raises ModelInvalid if there is none."""
    versions = sorted((name for name in os.listdir(folder) if name.isdecimal()), key=int)
    if not versions:
        raise ModelInvalid(f"no version of a model was found in {folder}; expected <version>/saved_model.pb")
    return versions


def choose_signature(available: List[str], configured: Optional[str], shown: str) -> str:
    """Return the signature to call: the configured one, or without configuration the only one or PREFERRED_SIGNATURE.

    Raises ModelInvalid if there is no such signature.
    """
    if not available:
        raise ModelInvalid(f"unable to find signature defs in {shown}; export the SavedModel with a signature")
    if configured is not None:
        if configured in available:
            return configured
        raise ModelInvalid(
            f"signature_key '{configured}' was not found in signature def map for {shown}, "
            f"but found the following: {', '.join(available)}"
        )
    if len(available) == 1:
        return available[0]
    if PREFERRED_SIGNATURE in available:
        return PREFERRED_SIGNATURE
    raise ModelInvalid(
        f"signature_key was not configured by user, please specify one of the following keys "
        f"for {shown}: {', '.join(available)}"
    )


def flat_list(array: Any, dtype: str) -> List[Any]:
    """Return the values in row-major order, in the form of protobuf's JSON.

    Most values become an int, float or bool of Python. A 64-bit integer becomes a text in decimal, and bytes become a
    text in base64. A 32-bit float becomes the shortest decimal with the same value. NaN and the infinities become the
    texts "NaN", "Infinity" and "-Infinity". A complex number becomes two values.
    https://protobuf.dev/programming-guides/json/
    """
    values: List[Any] = array.ravel().tolist() if hasattr(array, "ravel") else [array]
    if dtype in ("int64", "uint64"):
        return [str(value) for value in values]
    if dtype == "string":
        return [base64.b64encode(value).decode("ascii") for value in values]
    if dtype == "float32":
        values = [float(text) for text in array.ravel().astype("U32")]
    if dtype.startswith("complex"):
        values = [part for value in values for part in (value.real, value.imag)]
    return [finite(value) if isinstance(value, float) else value for value in values]


def finite(value: float) -> Union[float, str]:
    """Return the number; "NaN", "Infinity" or "-Infinity" if it is not finite, because JSON has no such numbers."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
