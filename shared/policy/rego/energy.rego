# Whether a training may start at a site now, how large, and when to ask again (COL-06, COL-07).
# Input: power_kw and soc_ppm of the newest reading (both absent where there is none), minute of the site's own day,
# off_peak_from and off_peak_to in the same minutes (from later than to: the window crosses midnight), heavy (bool).
# Values: reason, scale_ppm, delay_s, throttle_ppm (of what runs already), off_peak.
package nimmerverse.energy

import rego.v1

import data.nimmerverse.limits

rows := [reading, power, charge]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)

values := {
	"reason": reason,
	"scale_ppm": scale_ppm,
	"delay_s": delay_s,
	"throttle_ppm": throttle_ppm,
	"off_peak": off_peak,
}

power_kw := object.get(input, "power_kw", null)

soc_ppm := object.get(input, "soc_ppm", null)

known if {
	data.nimmerverse.rows.natural(power_kw)
	data.nimmerverse.rows.natural(soc_ppm)
	data.nimmerverse.rows.natural(object.get(input, "minute", null))
	data.nimmerverse.rows.natural(object.get(input, "off_peak_from", null))
	data.nimmerverse.rows.natural(object.get(input, "off_peak_to", null))
	is_boolean(object.get(input, "heavy", null))
}

default off_peak := false

off_peak if {
	known
	input.off_peak_from <= input.off_peak_to
	input.minute >= input.off_peak_from
	input.minute < input.off_peak_to
}

off_peak if {
	known
	input.off_peak_from > input.off_peak_to
	input.minute >= input.off_peak_from
}

off_peak if {
	known
	input.off_peak_from > input.off_peak_to
	input.minute < input.off_peak_to
}

# Outside the window a start needs more than a low battery, and a heavy one a full battery.
charged if {
	off_peak
} else if {
	input.heavy == false
	soc_ppm > limits.soc_low_ppm
} else if {
	input.heavy == true
	soc_ppm >= limits.soc_full_ppm
}

reason := "NO_READING" if {
	not known
} else := "GRID_CONSTRAINT" if {
	power_kw > limits.power_kw
} else := "OFFPEAK_REQUIRED" if {
	not charged
} else := "OK"

scale_ppm := 0 if {
	reason == "NO_READING"
} else := 500000 if {
	reason != "OK"
} else := 1000000 if {
	soc_ppm >= limits.soc_full_ppm
} else := 800000 if {
	soc_ppm > limits.soc_low_ppm
} else := 500000

delay_s := {"OK": 0, "NO_READING": 60, "GRID_CONSTRAINT": 900, "OFFPEAK_REQUIRED": 1800}[reason]

# A short grid slows down what runs; where a window closes otherwise, or nobody knows, it holds still.
throttle_ppm := {"OK": 1000000, "NO_READING": 0, "GRID_CONSTRAINT": 500000, "OFFPEAK_REQUIRED": 0}[reason]

reading := data.nimmerverse.rows.made("reading", "a fresh one", 1, "") if {
	known
} else := data.nimmerverse.rows.missing("reading", "a fresh one")

power := data.nimmerverse.rows.at_most("power_kw", power_kw, limits.power_kw)

charge := data.nimmerverse.rows.made("soc_ppm", demanded_charge, soc_ppm, "") if {
	known
	charged
} else := data.nimmerverse.rows.made("soc_ppm", demanded_charge, soc_ppm, "OFFPEAK_REQUIRED") if {
	known
} else := data.nimmerverse.rows.missing("soc_ppm", demanded_charge)

demanded_charge := "any, off-peak" if {
	off_peak
} else := sprintf(">= %d", [limits.soc_full_ppm]) if {
	object.get(input, "heavy", null) == true
} else := sprintf("> %d", [limits.soc_low_ppm])
