"""The models and what they are trained on: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import Described, Group, option
from deploy.usage.values import count, fingerprint, natural, share, whole

_MEANING = "deploy.commands.meaning"
_CATALOGUE = option(
    "--catalogue", type=Path, metavar="FILE", help="a catalogue of regions (default: the setting meaning_catalogue)"
)
_MODELS = "deploy.commands.models"
_MODEL = option("name", metavar="NAME[:TAG]", help="the model; the tag is `latest` where none is given")
_MARK = "deploy.commands.watermark"
_MARK_KEY = option("--key-name", default="owner", metavar="NAME", help="the mark's key in this home (default: owner)")
_BOUNDARY = "deploy.commands.boundary"
_EYES = "deploy.commands.eyes"
_JOBS = "deploy.commands.jobs"
_JOB = option("job", metavar="JOB", help="the job's id, as `train submit` and `train jobs` print it")
_PLOT = option("--plot", type=Path, metavar="FILE", help="draw the loss curve of a recorded run as SVG")
_RULE = "a changed rule, for instance dock_percent=25 (repeat it)"
_STATE = option(
    "values", nargs="+", metavar="FIELD=NUMBER", help='every field, or all as one JSON object: {"battery": 12, …}'
)
_FIELDS = f"{_BOUNDARY}:fields_in_words"

MODELS: dict[str, Described | Group] = {
    "models": Group(
        "the language and embedding models of this home, and the server that carries them",
        {
            "list": Described(f"{_MODELS}:listed", "list the models that are held here"),
            "add": Described(
                f"{_MODELS}:add",
                "copy a GGUF file into this home, under a name",
                (option("file", type=Path, metavar="FILE", help="the model, as GGUF"), _MODEL),
            ),
            "rm": Described(f"{_MODELS}:remove", "take a model away", (_MODEL,)),
            "ps": Described(f"{_MODELS}:running", "list the models that are loaded, and until when"),
            "bench": Described(
                f"{_MODELS}:bench",
                "measure a model through organd beside llama.cpp asked directly",
                (_MODEL, option("--calls", type=count, default=100, metavar="N", help="calls of each kind")),
            ),
            "serve": Described(
                f"{_MODELS}:serve",
                "answer as Ollama does, without a bus, until Ctrl-C",
            ),
            "mark": Described(
                f"{_MARK}:mark",
                "write an owner's mark into weights, by a secret key that is made on first use",
                (
                    option("file", type=Path, metavar="WEIGHTS", help="a safetensors file"),
                    option("--out", type=Path, required=True, metavar="FILE", help="the marked weights"),
                    option(
                        "--gguf",
                        type=Path,
                        metavar="FILE",
                        help="the boundary model of these weights too, by the record.json beside WEIGHTS",
                    ),
                    _MARK_KEY,
                ),
            ),
            "check-mark": Described(
                f"{_MARK}:check_mark",
                "look for an owner's mark in weights; 7 where it is not there",
                (option("file", type=Path, metavar="WEIGHTS", help="a safetensors or GGUF file"), _MARK_KEY),
            ),
        },
    ),
    "meaning": Group(
        "regions of meaning, offline: what a text is about, learned or described catalogues, how good they are",
        {
            "sense": Described(
                f"{_MEANING}:sense_text",
                "say which region a text is of, and what came near",
                (option("text", help="any text; its first 256 tokens are read"), _CATALOGUE),
            ),
            "learn": Described(
                f"{_MEANING}:learn_regions",
                "make a catalogue from labelled texts, or from descriptions",
                (
                    option(
                        "file",
                        type=Path,
                        metavar="FILE",
                        help="[text, label] a line, {part: [[text, label], …]} with `train` and `val`, or FILE.toml",
                    ),
                    option("--out", type=Path, required=True, metavar="FILE", help="the catalogue to write"),
                    option("--domains", type=Path, metavar="FILE", help="{region: [label, …]} (default: own regions)"),
                    option("--name", metavar="VERSION", help="the catalogue's version (default: the product's)"),
                ),
            ),
            "evaluate": Described(
                f"{_MEANING}:evaluate_regions",
                "say how good a catalogue is on labelled texts, and what it costs",
                (
                    option("file", type=Path, metavar="FILE", help="labelled texts, as `learn` reads them"),
                    _CATALOGUE,
                    option("--part", metavar="NAME", help="the part to judge by (default: val, or all but train)"),
                    option(
                        "--escalation",
                        type=share,
                        default=0.05,
                        metavar="SHARE",
                        help="the share of in-scope texts that may be called unknown, to compare by (default: 0.05)",
                    ),
                ),
            ),
        },
    ),
    "boundary": Group(
        "the function boundary: from states to function calls",
        {
            "install": Described(
                f"{_BOUNDARY}:install",
                "let a trained model speak; the log says so first; 1 if it does not speak then",
                (
                    option("file", type=Path, help="a model.gguf that `train boundary` made"),
                    option("--digest", type=fingerprint, help="refuse the file if this is not its BLAKE3"),
                    option(
                        "--exemption",
                        default="",
                        metavar="NAME",
                        help="by which it may speak though it is not promoted here: dev_install, in dev",
                    ),
                ),
            ),
            "evaluate": Described(
                f"{_BOUNDARY}:evaluate",
                "ask a model about many states and judge every answer; 1 if one is no allowed call",
                (
                    option("file", type=Path, nargs="?", help="a model.gguf"),
                    option("--digest", type=fingerprint, help="or one that was installed"),
                    option("--states", type=count, default=10_000, metavar="N", help="how many (default: 10000)"),
                    option("--rule", action="append", default=[], metavar="NAME=NUMBER", help=f"judge by {_RULE}"),
                ),
            ),
            "ask": Described(
                f"{_BOUNDARY}:ask",
                "ask for the function call of one state",
                (_STATE,),
                _FIELDS,
            ),
            "correct": Described(
                f"{_BOUNDARY}:correct",
                "say in the log which call is right in a state; models learn it when next trained",
                (_STATE, option("--call", required=True, metavar="JSON", help="the call, as `ask` prints it")),
                _FIELDS,
            ),
            "trails": Described(
                f"{_BOUNDARY}:trails",
                "write the judged calls of a log as lines to train from: the rules' own and what `correct` said; "
                "what a model said and nobody judged is left out",
                (
                    option("--out", type=Path, required=True, metavar="FILE", help="where the lines go"),
                    option(
                        "--source", type=Path, metavar="PATH", help="a log folder or bundle (default: the live log)"
                    ),
                ),
            ),
            "status": Described(f"{_BOUNDARY}:status", "say who speaks at the boundary"),
        },
    ),
    "train": Group(
        "train models, from decisions or registered datasets; needs the extra `train`",
        {
            "boundary": Described(
                "deploy.commands.train:boundary",
                "train a model for the function boundary, adapt one to changed rules, or repeat a training",
                (
                    option("--out", type=Path, metavar="FOLDER", help="where everything goes (default: in the home)"),
                    option("--trails", type=Path, metavar="FILE", help="decisions to learn from (default: the rules')"),
                    option("--from-log", action="store_true", help="learn from what this organism's log decided"),
                    option("--seed", type=natural, default=1, help="what chance is drawn from (default: 1)"),
                    option("--steps", type=count, metavar="N", help="steps of training"),
                    option("--from", dest="start", type=Path, metavar="FOLDER", help="adapt the model trained there"),
                    option("--rule", action="append", default=[], metavar="NAME=NUMBER", help=f"with --from: {_RULE}"),
                    option("--reinforce", action="store_true", help="with --from: learn from reward alone (GRPO)"),
                    option("--repeat", type=Path, metavar="RECORD", help="train by this record.json and compare"),
                ),
            ),
            "submit": Described(
                f"{_JOBS}:submit",
                "have a model trained by worker processes that vote on every checkpoint; the log decides and remembers",
                (
                    option("family", metavar="FAMILY", help="what is trained: boundary, toxicity, line"),
                    option(
                        "--dataset",
                        type=fingerprint,
                        action="append",
                        required=True,
                        metavar="DIGEST",
                        help="a registered dataset (repeat it)",
                    ),
                    option("--steps", type=whole, required=True, metavar="N", help="steps of training, up to 10000"),
                    option("--proposal", metavar="ID", help="the accepted proposal that this is"),
                    option("--exemption", metavar="NAME", help="or an exemption that policy knows"),
                    option("--workers", type=whole, default=2, metavar="N", help="how many vote (default: 2)"),
                    option("--hyper", action="append", default=[], metavar="NAME=NUMBER", help="a hyperparameter"),
                    option("--backend", default="torch", help="what computes: torch, tinygrad, hivemind"),
                    option(
                        "--base",
                        type=fingerprint,
                        metavar="DIGEST",
                        help="recorded or registered weights to go on from",
                    ),
                    option("--seed", type=natural, default=1, help="what chance is drawn from (default: 1)"),
                    option("--heavy", action="store_true", help="wait for off-peak power; a large job has to"),
                    option("--reason", default="submitted by hand", help="why it is trained, as the log will say"),
                    option("--wait", action="store_true", help="follow the job to its end"),
                    _PLOT,
                ),
            ),
            "status": Described(f"{_JOBS}:status", "say where a job stands, and how its loss went", (_JOB, _PLOT)),
            "cancel": Described(
                f"{_JOBS}:cancel",
                "cancel a job that has not ended",
                (_JOB, option("--reason", default="cancelled by hand", help="why, as the log will say")),
            ),
            "jobs": Described(f"{_JOBS}:jobs", "list every job of the log"),
            "reproduce": Described(
                f"{_JOBS}:reproduce",
                "repeat a recorded run and compare every byte; 1 where it diverged",
                (
                    option("which", metavar="JOB", help="the job's id, or the digest of its record"),
                    option("--workers", type=whole, metavar="N", help="with so many workers"),
                    option(
                        "--alter",
                        action="append",
                        default=[],
                        metavar="FIELD=NUMBER",
                        help="with this field otherwise: seed, steps, or a hyperparameter",
                    ),
                ),
            ),
            "backend": Described(
                "deploy.commands.backend:install",
                "install a training backend in an environment of its own in the home",
                (option("name", metavar="NAME", help="tinygrad or hivemind"),),
            ),
        },
    ),
    "eyes": Group(
        "the eyes' own detector; needs the extra `eyes`",
        {
            "install": Described(
                f"{_EYES}:install",
                "try an ONNX detector and put it where the eyes find it",
                (
                    option("file", type=Path, metavar="FILE", help="an ONNX file in one of YOLO's layouts"),
                    option("--names", type=Path, metavar="FILE", help="its classes, one a line, not those it names"),
                    option("--digest", type=fingerprint, help="refuse the file if this is not its BLAKE3"),
                ),
            ),
        },
    ),
}
