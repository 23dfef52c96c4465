// Figures in words, as words.py says them.
const NARROW = "\u202f";
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, NARROW);
  return Math.abs(value) < 1000 ? String(Number(value.toPrecision(4))) : value.toFixed(1).replace(/\B(?=(\d{3})+\.)/g, NARROW);
}

export function size(value) {
  if (value === null || value === undefined) return "–";
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)}${NARROW}${UNITS[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return seconds >= 0.1 ? `${seconds.toFixed(1)}${NARROW}s` : `${(seconds * 1000).toFixed(0)}${NARROW}ms`;
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole}${NARROW}s`;
  if (whole < 7200) return `${Math.floor(whole / 60)}${NARROW}min`;
  const hours = Math.floor(whole / 3600);
  if (hours < 48) return `${hours}${NARROW}h ${Math.floor((whole % 3600) / 60)}${NARROW}min`;
  return `${Math.floor(whole / 86400)}${NARROW}d ${hours % 24}${NARROW}h`;
}

export function percent(part) {
  return part === null || part === undefined ? "–" : `${Math.round(part * 100)}${NARROW}%`;
}

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}
