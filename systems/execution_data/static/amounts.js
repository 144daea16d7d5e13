// Amounts in cents: sums of floats would be off by one now and then.

const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const WITH_CENTS = new Intl.NumberFormat("en-GB", { minimumFractionDigits: 2 });
const MOST = 999999999999999; // cents, as the server takes them

/** Cents of what was typed; 0 for nothing, null for what is no amount. */
export function cents(text) {
  const plain = text.replace(/[\s,_]/g, "");
  if (plain === "") return 0;
  if (!/^\d+(\.\d{0,2})?$/.test(plain)) return null;
  const [whole, part = ""] = plain.split(".");
  const value = Number(whole) * 100 + Number(part.padEnd(2, "0"));
  return value <= MOST ? value : null;
}

/** As a person reads it: with cents where there are some. */
export const shown = (value) => (value % 100 ? WITH_CENTS : WHOLE).format(value / 100);

/** As an input holds it. */
export function typed(value) {
  if (!value) return "";
  const part = String(value % 100).padStart(2, "0");
  const whole = String(Math.floor(value / 100));
  return part === "00" ? whole : `${whole}.${part}`;
}

/** Cents of a number of the server's. */
export const fromNumber = (value) => Math.round(value * 100);
