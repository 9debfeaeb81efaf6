"""The model as MLflow serves it: a table with named columns in, the label and each class's probability out.

MLflow runs this file as it stands ("models from code"): when `record` writes a model down, and again wherever the model
is loaded, beside copies of all files that it imports. Nothing is pickled.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types.schema import AnyType, Schema


class Classifier(PythonModel):  # type: ignore[misc]
    def load_context(self, context: PythonModelContext) -> None:
        # Not above: `record` runs this file too, and has no use for the seconds that torch takes.
        from retrace.networks.model import Damaged, read

        try:
            self.model = read(Path(context.artifacts["model"]))
        except Damaged as damaged:
            raise MlflowException(f"{damaged}; take the model from its store again") from None
        self.threshold = float(context.model_config["threshold"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Raw rows, a column a feature -> columns `label` and `probability_CLASS`, as `evaluate` scores them.

        Raises MlflowException (HTTP 400) at a value that the model cannot take.
        """
        from retrace.networks.model import decide
        from retrace.preprocessing.apply import sure
        from retrace.preprocessing.description import Unusable
        from retrace.serving.frame import rows_of

        description = self.model.description
        try:
            rows = rows_of(model_input, description.features, description.kinds, description.preprocessing)
            probabilities = sure(description.preprocessing, rows, self.model.probabilities(rows))
        except Unusable as error:
            raise MlflowException.invalid_parameter_value(f"{error}; leave the row out or fill it in") from None
        labels = np.array(description.classes, dtype=object)[decide(probabilities, self.threshold)]
        columns = {f"probability_{name}": probabilities[:, index] for index, name in enumerate(description.classes)}
        return pd.DataFrame({"label": labels, **columns}, index=model_input.index)


def _pandas_types(schema: Schema, of_mlflow: Callable[[Schema], list[Any]] = Schema.pandas_types) -> list[Any]:
    """MLflow reads text/csv by these types, and fails where a column may hold anything: its values are texts, then."""
    any_type = [isinstance(column.type, AnyType) for column in schema.inputs]
    return [np.dtype(object)] * len(any_type) if all(any_type) else of_mlflow(schema)


Schema.pandas_types = _pandas_types
mlflow.models.set_model(Classifier())
