# What a post has to be, to be kept (COL-01, COL-12).
# Input: scored (bool: false where the corpus is one that nothing scores), toxicity_ppm, keep_ppm (the corpus's own
# limit, never above ours), language, wanted_language (empty: any), characters.
package nimmerverse.data_quality

import rego.v1

import data.nimmerverse.limits

rows := [toxicity, language, text]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)

keep_ppm := min([limits.toxicity_ppm, input.keep_ppm]) if {
	data.nimmerverse.rows.natural(object.get(input, "keep_ppm", null))
} else := limits.toxicity_ppm

toxicity := data.nimmerverse.rows.made("toxicity", "not scored", null, "") if {
	object.get(input, "scored", null) == false
} else := data.nimmerverse.rows.at_most("toxicity", object.get(input, "toxicity_ppm", null), keep_ppm)

language := data.nimmerverse.rows.made("language", "any", null, "") if {
	object.get(input, "wanted_language", null) == ""
} else := data.nimmerverse.rows.missing("wanted_language", "a language") if {
	not is_string(object.get(input, "wanted_language", null))
} else := data.nimmerverse.rows.equal("language", object.get(input, "language", null), input.wanted_language)

text := data.nimmerverse.rows.at_least("characters", object.get(input, "characters", null), 1)
