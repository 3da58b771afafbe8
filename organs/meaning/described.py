"""Catalogues made from descriptions: a TOML file with a few phrases for each region, and no training."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from organs.meaning.catalogue import Catalogue, Label, Region, check_name
from organs.meaning.port import Embedder
from organs.meaning.vector import mean
from shared.errors import ConfigFault

Phrase = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[int, Field(ge=0, le=1_000_000)]


class DescribedRegion(BaseModel):
    """One region as a person writes it down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: Phrase
    phrases: Annotated[list[Phrase], Field(min_length=1, max_length=100)]


class Description(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Phrase
    threshold_ppm: Share
    margin_ppm: Share
    regions: Annotated[dict[str, DescribedRegion], Field(min_length=1, max_length=1_000)]


def read_description(path: Path) -> Description:
    """Return the regions that a TOML file describes; ConfigFault says what is wrong with it."""
    try:
        with path.open("rb") as file:
            found = Description.model_validate(tomllib.load(file))
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}); name a file that describes regions") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigFault(f"{path} does not describe regions: {where}: {first['msg']}; correct it") from None
    except ValueError as error:  # TOML and UTF-8 errors alike
        raise ConfigFault(f"{path} is not valid TOML ({error}); correct it") from error
    for name in found.regions:
        check_name(name)
    return found


async def catalogue_of(description: Description, embedder: Embedder) -> Catalogue:
    """Return the catalogue of described regions. NoModel, Damaged."""
    texts = texts_of(description)
    return composed(description, dict(zip(texts, await embedder.vectors(texts), strict=True)), embedder.digest)


def texts_of(description: Description) -> list[str]:
    """Return everything a description says, each text once."""
    said = (text for one in description.regions.values() for text in (one.description, *one.phrases))
    return list(dict.fromkeys(said))


def composed(description: Description, vectors: Mapping[str, bytes], model: str) -> Catalogue:
    """Return the catalogue of described regions, given their texts' vectors.

    The description and each phrase are prototypes, their mean is the region's own vector.
    """
    regions, labels = list[Region](), list[Label]()
    for name, one in sorted(description.regions.items()):
        own = [vectors[text] for text in (one.description, *one.phrases)]
        regions.append(Region(name, one.description, tuple(one.phrases), mean(own)))
        labels.append(Label(name, name, tuple(dict.fromkeys(own))))
    limits = (description.threshold_ppm, description.margin_ppm, 0)
    return Catalogue(description.version, model, tuple(regions), tuple(labels), None, *limits)
