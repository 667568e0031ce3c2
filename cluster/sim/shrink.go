package sim

import "time"

// Shrink looks for a smaller run that fails too: it leaves out one class of
// faults after the other and shortens the first phase, as long as the run still
// fails. It returns the smallest Config found and its result; tries bounds the
// runs.
func Shrink(cfg Config, body func(w *World), tries int) (Config, *Result) {
	return shrink(cfg, body, tries, launchNode)
}

func shrink(cfg Config, body func(w *World), tries int, launch launcher) (Config, *Result) {
	cfg = cfg.withDefaults()
	best := run(cfg, body, launch)
	attempt := func(smaller Config) bool {
		if tries <= 0 {
			return false
		}
		tries--
		r := run(smaller, body, launch)
		if r.OK() {
			return false
		}
		cfg, best = smaller, r
		return true
	}
	if best.OK() {
		return cfg, best
	}
	for _, name := range Classes() {
		if best.Faults[name] > 0 {
			attempt(cfg.without(name))
		}
	}
	for cfg.Duration > time.Second {
		shorter := cfg
		shorter.Duration /= 2
		if !attempt(shorter) {
			break
		}
	}
	return cfg, best
}

// without returns the Config without one class of faults.
func (c Config) without(class string) Config {
	every := map[string]time.Duration{class: 0}
	for name, mean := range c.Faults.Every {
		if name != class {
			every[name] = mean
		}
	}
	c.Faults.Every = every
	return c
}
