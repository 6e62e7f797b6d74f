// The wall clock is what a file says: for `node --import`.

import { readFileSync } from 'node:fs';

const RealDate = Date;
const now = () => Number(readFileSync(process.env.CLOCK, 'utf8')) * 1000;

globalThis.Date = class extends RealDate {
  constructor(...told) {
    super(...(told.length ? told : [now()]));
  }

  static now() {
    return now();
  }
};
