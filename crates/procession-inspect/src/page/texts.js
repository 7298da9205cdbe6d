"use strict";
// Texts, as the server writes them. The scripts of all pages begin with this.
const pad = (n) => String(n).padStart(2, "0");
const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const age = (ms) => {
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(s / 3600);
  if (s < 1) return Math.floor(ms) + " ms";
  if (s < 60) return s + "." + Math.floor(ms % 1000 / 100) + " s";
  if (s < 3600) return m + " min " + pad(s % 60) + " s";
  if (s < 86400) return h + " h " + pad(m % 60) + " min";
  return Math.floor(h / 24) + " d " + h % 24 + " h";
};
