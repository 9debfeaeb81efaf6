"""The library of the project, floor upon floor; a package imports only packages below it (import-linter, `make lint`).

cli                         what a person or CI runs beside the pipeline
tracking serving figures    the record in MLflow; the model for others; pictures
evaluation training         how good and how sure; the trainer, its checkpoints and optimizers
networks                    what is trained, and the model as files
preprocessing               fitted on training rows, part of the model
data                        sources, kinds, conversion, splitting; checks/ is the leak guard
artifacts                   the files that pass between stages
params                      params.yaml: sections, reading, messages, editing
runtime                     how a process runs: errors, signals, locks, memory, disk, atomic files
"""
