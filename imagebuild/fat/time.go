package fat

import "time"

// The times that a directory entry can hold.
var (
	minTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(2107, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
)

// encodeTime returns the date, the time in steps of two seconds, and what is left
// in hundredths of a second. Times out of range become the nearest in it.
func encodeTime(t time.Time) (date, clock uint16, hundredths byte) {
	t = t.UTC()
	if t.Before(minTime) {
		t = minTime
	}
	if t.After(maxTime) {
		t = maxTime
	}
	date = uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
	clock = uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
	return date, clock, byte(t.Second()%2*100 + t.Nanosecond()/10_000_000)
}

// decodeTime is the reverse. A date of 0 is the zero time.
func decodeTime(date, clock uint16, hundredths byte) time.Time {
	if date == 0 {
		return time.Time{}
	}
	return time.Date(1980+int(date>>9), time.Month(date>>5&15), int(date&31),
		int(clock>>11), int(clock>>5&63), int(clock&31)*2+int(hundredths)/100,
		int(hundredths)%100*10_000_000, time.UTC)
}
