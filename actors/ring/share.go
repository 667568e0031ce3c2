package ring

import "math/bits"

// share is what one bin should hold: the two integers around its fair share.
type share struct{ low, high int }

// fairShares cuts total into shares in proportion to the weights, where each
// share stays within its bounds: what a bounded bin cannot take, or has to take,
// is spread over the others. The bounds must leave room:
// sum(lower) <= total <= sum(upper).
//
// It freezes the bins that violate a bound, the worse side first, until none
// does: the rule by which flexible boxes share the width of a page.
func fairShares(total int, weights []uint64, lower, upper []int) []share {
	shares := make([]share, len(weights))
	frozen := make([]bool, len(weights))
	for {
		rest, weight := total, uint64(0)
		for i := range weights {
			if frozen[i] {
				rest -= shares[i].low
			} else {
				weight += weights[i]
			}
		}
		if weight == 0 {
			return shares
		}
		above, below := 0.0, 0.0
		for i := range weights {
			if !frozen[i] {
				exact := float64(rest) * float64(weights[i]) / float64(weight)
				above += max(0, exact-float64(upper[i]))
				below += max(0, float64(lower[i])-exact)
			}
		}
		changed := false
		for i := range weights {
			if frozen[i] {
				continue
			}
			s := proportion(rest, weights[i], weight)
			switch {
			case s.high > upper[i] && above >= below:
				shares[i], frozen[i], changed = share{upper[i], upper[i]}, true, true
			case s.low < lower[i] && below >= above:
				shares[i], frozen[i], changed = share{lower[i], lower[i]}, true, true
			default:
				shares[i] = s
			}
		}
		if !changed {
			return shares
		}
	}
}

// proportion is total * weight / sum, rounded down and up.
func proportion(total int, weight, sum uint64) share {
	hi, lo := bits.Mul64(uint64(max(total, 0)), weight)
	quotient, remainder := bits.Div64(hi%sum, lo, sum)
	low := int(quotient)
	if remainder > 0 {
		return share{low, low + 1}
	}
	return share{low, low}
}
