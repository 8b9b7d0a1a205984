import { LabIcon } from '@jupyterlab/ui-components';

const ring = (x: number, y: number) =>
  `M${x - 3.2} ${y}a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0zm1.6 0a1.6 1.6 0 1 1 3.2 0a1.6 1.6 0 1 1-3.2 0z`;

// A micrograph with three particles.
const frame =
  'M5 2h14a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H5a3 3 0 0 1-3-3V5a3 3 0 0 1 3-3zm0 1.8A1.2 1.2 0 0 0 3.8 5v14A1.2 1.2 0 0 0 5 20.2h14a1.2 1.2 0 0 0 1.2-1.2V5A1.2 1.2 0 0 0 19 3.8z';
const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" fill-rule="evenodd" d="${frame}${ring(8.6, 8.6)}${ring(15.8, 11.4)}${ring(9.4, 16)}"/></svg>`;

export const sessionsIcon = new LabIcon({
  name: 'nextpyp-nb:sessions',
  svgstr: drawing
});
