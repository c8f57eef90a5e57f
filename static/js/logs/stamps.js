// Times of lines. A stamp is RFC 3339 in UTC with nanoseconds; the reader sees the own time zone, or a distance.
export const MODES = ["off", "absolute", "start", "previous"];

const two = (number) => String(number).padStart(2, "0");
const three = (number) => String(number).padStart(3, "0");

/** Milliseconds, with the microseconds as a fraction; NaN without a stamp. */
export function millisecondsOf(stamp) {
  return stamp ? Date.parse(`${stamp.slice(0, 23).replace("Z", "")}Z`) + Number(stamp.slice(23, 26).replace(/\D/g, "") || 0) / 1000 : NaN;
}

/** 11-24 02:00:00.123, in the reader's time zone. */
export function absolute(stamp) {
  const at = new Date(millisecondsOf(stamp));
  if (Number.isNaN(at.getTime())) return "";
  return `${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${three(at.getMilliseconds())}`;
}

/** +1:02:03.456 since `from`; +0.012 s when `isStep`, since a step between lines is mostly short. */
export function since(stamp, from, isStep = false) {
  const distance = millisecondsOf(stamp) - from;
  if (Number.isNaN(distance)) return "";
  const size = Math.abs(distance);
  const sign = distance < 0 ? "−" : "+";
  if (isStep && size < 60_000) return `${sign}${(size / 1000).toFixed(3)} s`;
  const seconds = Math.floor(size / 1000);
  const days = Math.floor(seconds / 86400);
  const clock = `${Math.floor(seconds / 3600) % 24}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return `${sign}${days ? `${days}d ` : ""}${clock}${isStep ? "" : `.${three(Math.floor(size % 1000))}`}`;
}

/** The stamp of a moment as the server writes it, from a Date or what a datetime-local field holds. */
export function stampOf(moment) {
  const at = moment instanceof Date ? moment : new Date(moment);
  return Number.isNaN(at.getTime()) ? null : at.toISOString().replace("Z", "000000Z");
}

/** What a datetime-local field with seconds wants. */
export function fieldValue(milliseconds) {
  const at = new Date(milliseconds);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
