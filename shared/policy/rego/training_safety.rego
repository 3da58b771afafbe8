# What a training run has to show, and whether it should pause, for whoever asks (COL-12).
# Input: hallucination_ppm, bias_ppm, consensus_ppm. Values: should_pause; what is not measured is reason to pause.
package nimmerverse.training_safety

import rego.v1

import data.nimmerverse.limits

rows := [
	data.nimmerverse.rows.below("hallucination", object.get(input, "hallucination_ppm", null), limits.hallucination_ppm),
	data.nimmerverse.rows.below("bias", object.get(input, "bias_ppm", null), limits.bias_ppm),
	data.nimmerverse.rows.share_at_least("consensus", object.get(input, "consensus_ppm", null), limits.consensus_ppm),
]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)

values := {"should_pause": should_pause}

default should_pause := true

should_pause := false if {
	data.nimmerverse.rows.natural(object.get(input, "hallucination_ppm", null))
	data.nimmerverse.rows.natural(object.get(input, "consensus_ppm", null))
	input.hallucination_ppm < limits.pause_hallucination_ppm
	input.consensus_ppm >= limits.pause_consensus_ppm
}
