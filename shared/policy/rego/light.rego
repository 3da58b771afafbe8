# Whether a training job that does not say that it is heavy is light: a heavy one waits for its hours (COL-06, COL-07).
# Input: heavy (bool), steps, workers. What one step costs nobody knows beforehand, so that their number counts alone.
package nimmerverse.light

import rego.v1

import data.nimmerverse.limits

rows := [steps, workers]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)

default heavy := false

heavy if object.get(input, "heavy", null) == true

steps := unlimited("steps") if {
	heavy
} else := data.nimmerverse.rows.at_most("steps", object.get(input, "steps", null), limits.light_steps)

workers := unlimited("workers") if {
	heavy
} else := data.nimmerverse.rows.at_most("workers", object.get(input, "workers", null), limits.light_workers)

unlimited(name) := data.nimmerverse.rows.made(name, "any, for it is heavy", null, "")
