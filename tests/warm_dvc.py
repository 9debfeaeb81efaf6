"""dvc.lock parsed and worded by DVC once and not for each stage, in the process that tests/warm.py forks off."""

import io


def keep_what_is_dumped() -> None:
    """Let DVC go on with the content of dvc.lock that it wrote: it parses its 1,800 lines again for each stage.

    And it writes them again, seven eighths of them as they were: a stage that was written before is not worded anew.
    """
    from dvc.utils.serialize import _yaml

    parse, dump, kept = _yaml.parse_yaml_for_update, _yaml._dump, {}  # of dvc.lock, and of the run cache
    words: dict[str, str] = {}

    def worded(name: str, stage) -> str:
        key = name + repr(shape(stage))
        if key not in words:
            text = io.StringIO()
            dump({"stages": {name: stage}}, text)
            words[key] = text.getvalue().removeprefix("stages:\n")
        return words[key]

    def dumped(data, stream) -> None:
        text = io.StringIO()
        if list(data) == ["schema", "stages"] and data["stages"]:
            dump({"schema": data["schema"]}, text)
            text.write("stages:\n" + "".join(worded(*item) for item in data["stages"].items()))
        else:
            dump(data, text)
        kept[text.getvalue()] = data
        while len(kept) > 3:
            del kept[next(iter(kept))]
        stream.write(text.getvalue())

    _yaml._dump = dumped
    _yaml.parse_yaml_for_update = lambda text, path: kept.pop(text, None) or parse(text, path)


def shape(content) -> object:
    """All that decides how YAML words it: values with their types, and in their order."""
    if isinstance(content, dict):
        return [(key, shape(value)) for key, value in content.items()]
    if isinstance(content, list):
        return [shape(value) for value in content]
    return type(content).__name__, str(content)
