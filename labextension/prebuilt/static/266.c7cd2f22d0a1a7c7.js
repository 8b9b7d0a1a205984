"use strict";(self.rspackChunknextpyp_nb=self.rspackChunknextpyp_nb||[]).push([[266],{646(e,n,a){var r=a(601),t=a.n(r),o=a(314),l=(a.n(o))()(t());l.push([e.id,`.nb-lab-panel {
  --nb-done: #2e8b57;
  --nb-warning: #b7791f;
  --nb-failed: #c0392b;

  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  display: flex;
  flex-direction: column;
  font-size: var(--jp-ui-font-size1);
  font-variant-numeric: tabular-nums;
  min-width: 220px;
}

body[data-jp-theme-light='false'] .nb-lab-panel {
  --nb-done: #4cb782;
  --nb-warning: #e0a64a;
  --nb-failed: #ee6a5b;
}

.nb-lab-muted { color: var(--jp-ui-font-color2); }
.nb-lab-failed { color: var(--nb-failed); }
.nb-lab-head { display: flex; align-items: center; gap: 4px; padding: 8px 8px 6px 12px; }
.nb-lab-head b { flex: 1; font-weight: 600; }
.nb-lab-panel button, .nb-lab-viewer button, .nb-lab-viewer select {
  background: var(--jp-layout-color1);
  border: 1px solid var(--jp-border-color1);
  border-radius: 4px;
  color: var(--jp-ui-font-color1);
  cursor: pointer;
  font-size: 12px;
  height: 24px;
  padding: 0 8px;
}
.nb-lab-panel button:hover:enabled, .nb-lab-viewer button:hover:enabled { background: var(--jp-layout-color2); }
.nb-lab-panel button:disabled, .nb-lab-viewer button:disabled { color: var(--jp-ui-font-color3); cursor: default; }
.nb-lab-head button { border-color: transparent; padding: 0 4px; display: flex; align-items: center; }
.nb-lab-filter {
  background: var(--jp-input-background);
  border: 1px solid var(--jp-border-color1);
  border-radius: 4px;
  box-sizing: border-box;
  color: inherit;
  font-size: 12px;
  height: 26px;
  margin: 0 12px 8px;
  padding: 0 8px;
}
.nb-lab-filter::placeholder { color: var(--jp-ui-font-color2); }
.nb-lab-problem { border-left: 3px solid var(--jp-error-color1); margin: 4px 12px 8px; padding: 4px 8px; white-space: normal; }
.nb-lab-list { flex: 1; overflow-y: auto; }
.nb-lab-none { padding: 8px 12px; }
.nb-lab-session { border-top: 1px solid var(--jp-border-color2); padding: 9px 12px 10px; }
.nb-lab-name { display: flex; align-items: center; gap: 8px; }
.nb-lab-name b { font-weight: 600; flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.nb-lab-light { background: var(--jp-border-color1); border-radius: 50%; flex: none; height: 9px; width: 9px; }
.nb-lab-light.nb-lab-running { background: var(--nb-done); }
.nb-lab-light.nb-lab-stale { background: var(--nb-warning); }
.nb-lab-state { font-size: 12px; }
.nb-lab-counts { display: flex; flex-wrap: wrap; gap: 0 12px; font-size: 12px; margin: 3px 0 1px 17px; }
.nb-lab-counts b { font-weight: 600; }
.nb-lab-doing, .nb-lab-answer { font-size: 12px; margin-left: 17px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.nb-lab-answer { white-space: normal; margin-top: 6px; }
.nb-lab-buttons { align-items: center; display: flex; gap: 6px; margin: 7px 0 0 17px; }
.nb-lab-group { font-size: 12px; margin-left: auto; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }

.nb-lab-viewer { background: var(--jp-layout-color1); color: var(--jp-ui-font-color1); display: flex; flex-direction: column; font-size: var(--jp-ui-font-size1); font-variant-numeric: tabular-nums; }
.nb-lab-facts { align-items: center; border-bottom: 1px solid var(--jp-border-color2); display: flex; flex-wrap: wrap; gap: 6px 16px; padding: 8px 12px; }
.nb-lab-pager { align-items: center; display: flex; gap: 8px; }
.nb-lab-picture { flex: 1; min-height: 0; padding: 12px; text-align: center; }
.nb-lab-picture img { height: 100%; max-width: 100%; object-fit: contain; }
.nb-lab-table { flex: 1; overflow: auto; }
.nb-lab-table table { border-collapse: collapse; font-size: 12px; }
.nb-lab-table th, .nb-lab-table td { border-bottom: 1px solid var(--jp-border-color2); padding: 3px 12px; text-align: left; white-space: nowrap; }
.nb-lab-table th { background: var(--jp-layout-color1); position: sticky; top: 0; }
.nb-lab-table td.nb-lab-number { text-align: right; }
`,""]),a.d(n,{},{A:l})},314(e){e.exports=function(e){var n=[];return n.toString=function(){return this.map(function(n){var a="",r=void 0!==n[5];return n[4]&&(a+="@supports (".concat(n[4],") {")),n[2]&&(a+="@media ".concat(n[2]," {")),r&&(a+="@layer".concat(n[5].length>0?" ".concat(n[5]):""," {")),a+=e(n),r&&(a+="}"),n[2]&&(a+="}"),n[4]&&(a+="}"),a}).join("")},n.i=function(e,a,r,t,o){"string"==typeof e&&(e=[[null,e,void 0]]);var l={};if(r)for(var i=0;i<this.length;i++){var p=this[i][0];null!=p&&(l[p]=!0)}for(var b=0;b<e.length;b++){var c=[].concat(e[b]);r&&l[c[0]]||(void 0!==o&&(void 0===c[5]||(c[1]="@layer".concat(c[5].length>0?" ".concat(c[5]):""," {").concat(c[1],"}")),c[5]=o),a&&(c[2]&&(c[1]="@media ".concat(c[2]," {").concat(c[1],"}")),c[2]=a),t&&(c[4]?(c[1]="@supports (".concat(c[4],") {").concat(c[1],"}"),c[4]=t):c[4]="".concat(t)),n.push(c))}},n}},601(e){e.exports=function(e){return e[1]}},665(e,n,a){a.r(n);var r=a(72),t=a.n(r),o=a(825),l=a.n(o),i=a(659),p=a.n(i),b=a(56),c=a.n(b),s=a(540),d=a.n(s),u=a(113),f=a.n(u),x=a(646),v={};v.styleTagTransform=f(),v.setAttributes=c(),v.insert=p().bind(null,"head"),v.domAPI=l(),v.insertStyleElement=d(),t()(x.A,v);let g=x.A&&x.A.locals?x.A.locals:void 0;a.d(n,{},{default:g})},72(e){var n=[];function a(e){for(var a=-1,r=0;r<n.length;r++)if(n[r].identifier===e){a=r;break}return a}function r(e,r){for(var t={},o=[],l=0;l<e.length;l++){var i=e[l],p=r.base?i[0]+r.base:i[0],b=t[p]||0,c="".concat(p," ").concat(b);t[p]=b+1;var s=a(c),d={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==s)n[s].references++,n[s].updater(d);else{var u=function(e,n){var a=n.domAPI(n);return a.update(e),function(n){n?(n.css!==e.css||n.media!==e.media||n.sourceMap!==e.sourceMap||n.supports!==e.supports||n.layer!==e.layer)&&a.update(e=n):a.remove()}}(d,r);r.byIndex=l,n.splice(l,0,{identifier:c,updater:u,references:1})}o.push(c)}return o}e.exports=function(e,t){var o=r(e=e||[],t=t||{});return function(e){e=e||[];for(var l=0;l<o.length;l++){var i=a(o[l]);n[i].references--}for(var p=r(e,t),b=0;b<o.length;b++){var c=a(o[b]);0===n[c].references&&(n[c].updater(),n.splice(c,1))}o=p}}},659(e){var n={};e.exports=function(e,a){var r=function(e){if(void 0===n[e]){var a=document.querySelector(e);if(window.HTMLIFrameElement&&a instanceof window.HTMLIFrameElement)try{a=a.contentDocument.head}catch(e){a=null}n[e]=a}return n[e]}(e);if(!r)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");r.appendChild(a)}},540(e){e.exports=function(e){var n=document.createElement("style");return e.setAttributes(n,e.attributes),e.insert(n,e.options),n}},56(e,n,a){e.exports=function(e){var n=a.nc;n&&e.setAttribute("nonce",n)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var n=e.insertStyleElement(e);return{update:function(a){var r,t,o;r="",a.supports&&(r+="@supports (".concat(a.supports,") {")),a.media&&(r+="@media ".concat(a.media," {")),(t=void 0!==a.layer)&&(r+="@layer".concat(a.layer.length>0?" ".concat(a.layer):""," {")),r+=a.css,t&&(r+="}"),a.media&&(r+="}"),a.supports&&(r+="}"),(o=a.sourceMap)&&"u">typeof btoa&&(r+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),e.styleTagTransform(r,n,e.options)},remove:function(){var e;null===(e=n).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,n){if(n.styleSheet)n.styleSheet.cssText=e;else{for(;n.firstChild;)n.removeChild(n.firstChild);n.appendChild(document.createTextNode(e))}}}}]);