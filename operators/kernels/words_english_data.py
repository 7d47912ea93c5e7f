"""Characters, endings and special cases of the English tokenizer of spaCy 3.8.18.

Copyright (C) 2016-2024 ExplosionAI GmbH, 2016 spaCy GmbH, 2015 Matthew Honnibal; MIT licence. Written by words_english_source,
which explains each; not to be edited.
"""

# ruff: noqa: RUF001
from typing import Final

SPACY_VERSION: Final = "3.8.18"

CLASSES: Final = """
0:0 21:20b 22:cb 23:b 24:1 25:9 26:b 27:cb 28:b 2b:8 2c:cb 2d:8 2e:200 2f:0 30:8 3a:b 3d:1 3e:b 3f:20b 40:0 41:b0 5b:b 5c:0 5d:b 5e:0 5f:b
60:cb 61:168 7b:b 7c:8 7d:b 7e:0 a1:b a2:0 a3:1 a4:0 a5:1 a6:7 a7:1 a8:0 a9:7 aa:0 ab:cb ac:0 ae:7 af:0 b0:7 b1:0 b2:8 b3:0 b4:cb b5:0
b7:b b8:0 bb:cb bc:0 bf:b c0:b0 d7:0 d8:b0 df:168 f7:0 f8:168 100:b0 101:168 102:b0 103:168 104:b0 105:168 106:b0 107:168 108:b0 109:168
10a:b0 10b:168 10c:b0 10d:168 10e:b0 10f:168 110:b0 111:168 112:b0 113:168 114:b0 115:168 116:b0 117:168 118:b0 119:168 11a:b0 11b:168
11c:b0 11d:168 11e:b0 11f:168 120:b0 121:168 122:b0 123:168 124:b0 125:168 126:b0 127:168 128:b0 129:168 12a:b0 12b:168 12c:b0 12d:168
12e:b0 12f:168 130:b0 131:168 132:b0 133:168 134:b0 135:168 136:b0 137:168 139:b0 13a:168 13b:b0 13c:168 13d:b0 13e:168 13f:b0 140:168
141:b0 142:168 143:b0 144:168 145:b0 146:168 147:b0 148:168 14a:b0 14b:168 14c:b0 14d:168 14e:b0 14f:168 150:b0 151:168 152:b0 153:168
154:b0 155:168 156:b0 157:168 158:b0 159:168 15a:b0 15b:168 15c:b0 15d:168 15e:b0 15f:168 160:b0 161:168 162:b0 163:168 164:b0 165:168
166:b0 167:168 168:b0 169:168 16a:b0 16b:168 16c:b0 16d:168 16e:b0 16f:168 170:b0 171:168 172:b0 173:168 174:b0 175:168 176:b0 177:168
178:b0 17a:168 17b:b0 17c:168 17d:b0 17e:168 181:b0 183:168 184:b0 185:168 186:b0 188:168 189:b0 18c:168 18e:b0 192:168 193:b0 195:168
196:b0 199:168 19c:b0 19e:168 19f:b0 1a1:168 1a2:b0 1a3:168 1a4:b0 1a5:168 1a6:b0 1a8:168 1a9:b0 1aa:168 1ac:b0 1ad:168 1ae:b0 1b0:168
1b1:b0 1b4:168 1b5:b0 1b6:168 1b7:b0 1b9:168 1bb:20 1bc:b0 1bd:168 1c0:0 1c4:b0 1c5:20 1c6:168 1c7:b0 1c8:20 1c9:168 1ca:b0 1cb:20 1cc:168
1cd:b0 1ce:168 1cf:b0 1d0:168 1d1:b0 1d2:168 1d3:b0 1d4:168 1d5:b0 1d6:168 1d7:b0 1d8:168 1d9:b0 1da:168 1db:b0 1dc:168 1de:b0 1df:168
1e0:b0 1e1:168 1e2:b0 1e3:168 1e4:b0 1e5:168 1e6:b0 1e7:168 1e8:b0 1e9:168 1ea:b0 1eb:168 1ec:b0 1ed:168 1ee:b0 1ef:168 1f1:b0 1f2:20
1f3:168 1f4:b0 1f5:168 1f6:b0 1f9:168 1fa:b0 1fb:168 1fc:b0 1fd:168 1fe:b0 1ff:168 200:b0 201:168 202:b0 203:168 204:b0 205:168 206:b0
207:168 208:b0 209:168 20a:b0 20b:168 20c:b0 20d:168 20e:b0 20f:168 210:b0 211:168 212:b0 213:168 214:b0 215:168 216:b0 217:168 218:b0
219:168 21a:b0 21b:168 21c:b0 21d:168 21e:b0 21f:168 220:b0 221:168 222:b0 223:168 224:b0 225:168 226:b0 227:168 228:b0 229:168 22a:b0
22b:168 22c:b0 22d:168 22e:b0 22f:168 230:b0 231:168 232:b0 233:168 23a:b0 23c:168 23d:b0 23f:168 241:b0 242:168 243:b0 247:168 248:b0
249:168 24a:b0 24b:168 24c:b0 24d:168 24e:b0 24f:168 2b0:0 386:b0 387:0 388:b0 38b:0 38c:b0 38d:0 38e:b0 390:0 391:b0 3aa:0 3ac:168 3b0:0
3b1:168 3ca:0 3cc:168 3cf:0 400:b0 402:0 403:b0 40b:0 40c:b0 40e:0 410:b0 430:168 452:0 453:168 45b:0 45c:168 45e:0 482:7 483:0 490:b0
491:168 492:0 496:b0 497:168 498:0 4a2:b0 4a3:168 4a4:0 4ae:b0 4af:168 4b0:0 4ba:b0 4bb:168 4bc:0 4d8:b0 4d9:168 4da:0 4e8:b0 4e9:168
4ea:0 589:200 58a:0 58d:7 58f:0 591:1f8 5f5:0 60c:b 60d:0 60e:7 610:0 61b:b 61c:0 61f:20b 620:1f8 64b:0 66a:b 66b:0 66e:1f8 6d4:3fb
6d5:1f8 6d6:0 6de:7 6df:0 6e5:1f8 6e9:1ff 6ea:1f8 6fd:1ff 6ff:1f8 700:200 703:0 750:1f8 780:0 7f6:7 7f7:0 7f9:200 7fa:0 8a0:1f8 8be:0
900:1f8 964:3fb 965:3f8 966:1f8 9fa:1ff 9fb:1f8 a00:0 b70:7 b71:0 b80:1f8 bf3:1ff bf9:1f8 bfa:1ff bfb:1f8 c7f:1ff c80:1f8 d00:0 d4f:7
d50:0 d79:7 d7a:0 d80:1f8 e00:0 e3f:1 e40:0 f01:7 f04:0 f13:7 f14:0 f15:7 f18:0 f1a:7 f20:0 f34:7 f35:0 f36:7 f37:0 f38:7 f39:0 fbe:7
fc6:0 fc7:7 fcd:0 fce:7 fd0:0 fd5:7 fd9:0 104a:200 104c:0 109e:7 10a0:0 1100:1f8 1362:3f8 1363:1f8 1367:3f8 1369:1f8 1380:0 1390:7 139a:0
166e:200 166f:0 1735:200 1737:0 1803:200 1804:0 1809:200 180a:0 1940:7 1941:0 1944:200 1946:0 19de:7 1a00:0 1aa8:200 1aac:0 1b5a:200
1b5c:0 1b5e:200 1b60:0 1b61:7 1b6b:0 1b74:7 1b7d:0 1c3b:200 1c3d:0 1c7e:200 1c80:0 1d00:168 1d26:0 1d6b:168 1d78:0 1d79:168 1d9b:0 1e00:b0
1e01:168 1e02:b0 1e03:168 1e04:b0 1e05:168 1e06:b0 1e07:168 1e08:b0 1e09:168 1e0a:b0 1e0b:168 1e0c:b0 1e0d:168 1e0e:b0 1e0f:168 1e10:b0
1e11:168 1e12:b0 1e13:168 1e14:b0 1e15:168 1e16:b0 1e17:168 1e18:b0 1e19:168 1e1a:b0 1e1b:168 1e1c:b0 1e1d:168 1e1e:b0 1e1f:168 1e20:b0
1e21:168 1e22:b0 1e23:168 1e24:b0 1e25:168 1e26:b0 1e27:168 1e28:b0 1e29:168 1e2a:b0 1e2b:168 1e2c:b0 1e2d:168 1e2e:b0 1e2f:168 1e30:b0
1e31:168 1e32:b0 1e33:168 1e34:b0 1e35:168 1e36:b0 1e37:168 1e38:b0 1e39:168 1e3a:b0 1e3b:168 1e3c:b0 1e3d:168 1e3e:b0 1e3f:168 1e40:b0
1e41:168 1e42:b0 1e43:168 1e44:b0 1e45:168 1e46:b0 1e47:168 1e48:b0 1e49:168 1e4a:b0 1e4b:168 1e4c:b0 1e4d:168 1e4e:b0 1e4f:168 1e50:b0
1e51:168 1e52:b0 1e53:168 1e54:b0 1e55:168 1e56:b0 1e57:168 1e58:b0 1e59:168 1e5a:b0 1e5b:168 1e5c:b0 1e5d:168 1e5e:b0 1e5f:168 1e60:b0
1e61:168 1e62:b0 1e63:168 1e64:b0 1e65:168 1e66:b0 1e67:168 1e68:b0 1e69:168 1e6a:b0 1e6b:168 1e6c:b0 1e6d:168 1e6e:b0 1e6f:168 1e70:b0
1e71:168 1e72:b0 1e73:168 1e74:b0 1e75:168 1e76:b0 1e77:168 1e78:b0 1e79:168 1e7a:b0 1e7b:168 1e7c:b0 1e7d:168 1e7e:b0 1e7f:168 1e80:b0
1e81:168 1e82:b0 1e83:168 1e84:b0 1e85:168 1e86:b0 1e87:168 1e88:b0 1e89:168 1e8a:b0 1e8b:168 1e8c:b0 1e8d:168 1e8e:b0 1e8f:168 1e90:b0
1e91:168 1e92:b0 1e93:168 1e94:b0 1e95:168 1e9e:b0 1e9f:168 1ea0:b0 1ea1:168 1ea2:b0 1ea3:168 1ea4:b0 1ea5:168 1ea6:b0 1ea7:168 1ea8:b0
1ea9:168 1eaa:b0 1eab:168 1eac:b0 1ead:168 1eae:b0 1eaf:168 1eb0:b0 1eb1:168 1eb2:b0 1eb3:168 1eb4:b0 1eb5:168 1eb6:b0 1eb7:168 1eb8:b0
1eb9:168 1eba:b0 1ebb:168 1ebc:b0 1ebd:168 1ebe:b0 1ebf:168 1ec0:b0 1ec1:168 1ec2:b0 1ec3:168 1ec4:b0 1ec5:168 1ec6:b0 1ec7:168 1ec8:b0
1ec9:168 1eca:b0 1ecb:168 1ecc:b0 1ecd:168 1ece:b0 1ecf:168 1ed0:b0 1ed1:168 1ed2:b0 1ed3:168 1ed4:b0 1ed5:168 1ed6:b0 1ed7:168 1ed8:b0
1ed9:168 1eda:b0 1edb:168 1edc:b0 1edd:168 1ede:b0 1edf:168 1ee0:b0 1ee1:168 1ee2:b0 1ee3:168 1ee4:b0 1ee5:168 1ee6:b0 1ee7:168 1ee8:b0
1ee9:168 1eea:b0 1eeb:168 1eec:b0 1eed:168 1eee:b0 1eef:168 1ef0:b0 1ef1:168 1ef2:b0 1ef3:168 1ef4:b0 1ef5:168 1ef6:b0 1ef7:168 1ef8:b0
1ef9:168 1efa:b0 1efb:168 1efc:b0 1efd:168 1efe:b0 1eff:168 1f00:0 2013:3 2015:0 2018:cb 201b:0 201c:cb 201f:0 2026:f 2027:0 203c:200
203e:0 2047:200 204a:0 20a0:1 20c0:0 2100:7 2102:0 2103:7 2107:0 2108:7 210a:0 2114:7 2115:0 2116:7 2118:0 211e:7 2124:0 2125:7 2126:0
2127:7 2128:0 2129:7 212a:0 212e:7 212f:0 213a:7 213c:0 214a:7 214b:0 214c:7 214e:0 214f:7 2150:0 218a:7 218c:0 2195:7 219a:0 219c:7
21a0:0 21a1:7 21a3:0 21a4:7 21a6:0 21a7:7 21ae:0 21af:7 21ce:0 21d0:7 21d2:0 21d3:7 21d4:0 21d5:7 21f4:0 2300:7 2308:0 230c:7 2320:0
2322:7 2329:cb 232b:7 237c:0 237d:7 239b:0 23b4:7 23dc:0 23e2:7 2427:0 2440:7 244b:0 249c:7 24ea:0 2500:7 25b7:0 25b8:7 25c1:0 25c2:7
25f8:0 2600:7 266f:0 2670:7 2768:0 2794:7 27c0:0 27e6:cb 27e8:0 2800:7 2900:0 2b00:7 2b30:0 2b45:7 2b47:0 2b4d:7 2b74:0 2b76:7 2b96:0
2b98:7 2bc9:0 2bca:7 2bff:0 2c60:b0 2c61:168 2c62:b0 2c65:168 2c67:b0 2c68:168 2c69:b0 2c6a:168 2c6b:b0 2c6c:168 2c6d:b0 2c71:168 2c72:b0
2c73:168 2c75:b0 2c76:168 2c7c:0 2c7e:b0 2c80:0 2ce5:7 2ceb:0 2e2e:200 2e2f:0 2e3c:200 2e3d:0 2e80:1ff 2e9a:1f8 2e9b:1ff 2ef4:1f8 2f00:1ff
2fd6:1f8 2fe0:0 2ff0:1ff 2ffc:1f8 3001:1fb 3002:3fb 3003:1f8 3004:1ff 3005:1f8 3008:1fb 3012:1ff 3014:1fb 3016:1f8 3020:1ff 3021:1f8
3036:1ff 3038:1f8 303e:1ff 3040:1f8 3100:0 3190:7 3192:0 3196:7 31a0:0 31c0:1ff 31e4:1f8 31f0:0 3200:1ff 321f:1f8 322a:1ff 3248:1f8
3250:1ff 3251:1f8 3260:1ff 3280:1f8 328a:1ff 32b1:1f8 32c0:1ff 32ff:1f8 3300:1ff 3400:1f8 4dc0:7 4e00:1f8 a000:0 a490:7 a4c7:0 a4ff:200
a500:0 a60e:200 a610:0 a6f3:200 a6f4:0 a6f7:200 a6f8:0 a722:b0 a723:168 a724:b0 a725:168 a726:b0 a727:168 a728:b0 a729:168 a72a:b0
a72b:168 a72c:b0 a72d:168 a72e:b0 a72f:168 a732:b0 a733:168 a734:b0 a735:168 a736:b0 a737:168 a738:b0 a739:168 a73a:b0 a73b:168 a73c:b0
a73d:168 a73e:b0 a73f:168 a740:b0 a741:168 a742:b0 a743:168 a744:b0 a745:168 a746:b0 a747:168 a748:b0 a749:168 a74a:b0 a74b:168 a74c:b0
a74d:168 a74e:b0 a74f:168 a750:b0 a751:168 a752:b0 a753:168 a754:b0 a755:168 a756:b0 a757:168 a758:b0 a759:168 a75a:b0 a75b:168 a75c:b0
a75d:168 a75e:b0 a75f:168 a760:b0 a761:168 a762:b0 a763:168 a764:b0 a765:168 a766:b0 a767:168 a768:b0 a769:168 a76a:b0 a76b:168 a76c:b0
a76d:168 a76e:b0 a76f:168 a770:0 a771:168 a779:b0 a77a:168 a77b:b0 a77c:168 a77d:b0 a77f:168 a780:b0 a781:168 a782:b0 a783:168 a784:b0
a785:168 a786:b0 a787:168 a788:0 a78b:b0 a78c:168 a78d:b0 a78e:168 a78f:0 a790:b0 a791:168 a792:b0 a793:168 a796:b0 a797:168 a798:b0
a799:168 a79a:b0 a79b:168 a79c:b0 a79d:168 a79e:b0 a79f:168 a7a0:b0 a7a1:168 a7a2:b0 a7a3:168 a7a4:b0 a7a5:168 a7a6:b0 a7a7:168 a7a8:b0
a7a9:168 a7aa:b0 a7af:168 a7b0:b0 a7b5:168 a7b6:b0 a7b7:168 a7b8:b0 a7b9:168 a7ba:0 a7fa:168 a7fb:0 a828:7 a82c:0 a836:7 a838:0 a839:7
a83a:0 a876:200 a878:0 a8ce:200 a8d0:0 a92f:200 a930:0 a9c8:200 a9ca:0 aa5d:200 aa60:0 aa77:7 aa7a:0 aaf0:200 aaf2:0 ab30:168 ab5b:0
ab60:168 ab65:0 abeb:200 abec:0 ac00:1f8 d7b0:0 f900:1f8 fb00:0 fb1d:1f8 fbb2:0 fbd3:1f8 fd3e:0 fd50:1f8 fdc8:0 fdf0:1f8 fdfc:1 fdfd:7
fdfe:0 fe30:1f8 fe50:0 fe52:200 fe53:0 fe56:200 fe58:0 fe70:1f8 fefd:0 ff01:20b ff02:0 ff08:cb ff0a:0 ff0c:b ff0d:0 ff0e:200 ff0f:0 ff1a:b
ff1c:0 ff1f:20b ff20:0 ff21:b0 ff3b:0 ff41:168 ff5b:0 ff5e:b ff5f:0 ff61:200 ff62:0 ffe4:7 ffe5:0 ffe8:7 ffe9:0 ffed:7 ffef:0 fffc:7
fffe:0 10137:7 10140:0 10179:7 1018a:0 1018c:7 1018f:0 10190:7 1019c:0 101a0:7 101a1:0 101d0:7 101fd:0 10877:7 10879:0 10a56:200 10a58:0
10ac8:7 10ac9:0 11047:200 11049:0 110be:200 110c2:0 11141:200 11144:0 111c5:200 111c7:0 111cd:200 111ce:0 111de:200 111e0:0 11238:200
1123a:0 1123b:200 1123d:0 112a9:200 112aa:0 1144b:200 1144d:0 115c2:200 115c4:0 115c9:200 115d8:0 11641:200 11643:0 1173c:200 1173f:7
11740:0 11a42:200 11a44:0 11a9b:200 11a9d:0 11c41:200 11c43:0 16a6e:200 16a70:0 16af5:200 16af6:0 16b37:200 16b39:0 16b3c:7 16b40:0
16b44:200 16b45:7 16b46:0 1bc9c:7 1bc9d:0 1bc9f:200 1bca0:0 1d000:7 1d0f6:0 1d100:7 1d127:0 1d129:7 1d165:0 1d16a:7 1d16d:0 1d183:7
1d185:0 1d18c:7 1d1aa:0 1d1ae:7 1d1e9:0 1d200:7 1d242:0 1d245:7 1d246:0 1d300:7 1d357:0 1d800:7 1da00:0 1da37:7 1da3b:0 1da6d:7 1da75:0
1da76:7 1da84:0 1da85:7 1da87:0 1da88:200 1da89:0 1ecac:7 1ecad:0 1ee00:1f8 1eebc:0 1f000:7 1f02c:0 1f030:7 1f094:0 1f0a0:7 1f0af:0
1f0b1:7 1f0c0:0 1f0c1:7 1f0d0:0 1f0d1:7 1f0f6:0 1f110:7 1f16c:0 1f170:7 1f1ad:0 1f1e6:7 1f200:1ff 1f203:1f8 1f210:1ff 1f23c:1f8 1f240:1ff
1f249:1f8 1f250:1ff 1f252:1f8 1f260:1ff 1f266:1f8 1f300:7 1f3fb:0 1f400:7 1f6d5:0 1f6e0:7 1f6ed:0 1f6f0:7 1f6fa:0 1f700:7 1f774:0 1f780:7
1f7d9:0 1f800:7 1f80c:0 1f810:7 1f848:0 1f850:7 1f85a:0 1f860:7 1f888:0 1f890:7 1f8ae:0 1f900:7 1f90c:0 1f910:7 1f93f:0 1f940:7 1f971:0
1f973:7 1f977:0 1f97a:7 1f97b:0 1f97c:7 1f9a3:0 1f9b0:7 1f9ba:0 1f9c0:7 1f9c3:0 1f9d0:7 1fa00:0 1fa60:7 1fa6e:0 20000:1f8 2a6e0:0
2a700:1f8 2ebf0:0 2f800:1f8 2fa20:0
"""

TAILS: Final = """
$ % + A$ C$ G GB K KB M MB Pa T TB US$ cm cm² cm³ dm dm² dm³ ft g gb hPa ha in kb kg km km/h kmh km² km³ lb m m/s mb mbar mg mm mm² mm³
mph m² m³ nm oz t tb yd £ ¥ µg µm ГБ Гб КБ Кб МБ Мб Па ТБ Тб г гб дм дм² дм³ кПа кб кг км км/ч км² км³ м м/с м² м³ мб мбар мг мм мм² мм³
нм см см² см³ тбكم اكواب جرام جم سم سم² سم³ غرام كغ كم كم² كم³ كوب م م² م³ ملغ مم مم² مم³ ฿ ₠ ₡ ₢ ₣ ₤ ₥ ₦ ₧ ₨ ₩ ₪ ₫ € ₭ ₮ ₯ ₰ ₱ ₲ ₳ ₴ ₵ ₶
₷ ₸ ₹ ₺ ₻ ₼ ₽ ₾ ₿ ﷼
"""

SPECIALS: Final = """
' '' 'Cause 'Cos 'Coz 'Cuz 'S 'bout 'cause 'cos 'coz 'cuz 'd 'em 'll 'nuff 're 's (*_*) (-8 (-: (-; (-_-) (._.) (: (; (= (>_<) (^_^) (o:
(¬_¬) (ಠ_ಠ) (╯°□°）╯︵┻━┻ )-: ): -_- -__- ._. 0.0 0.o 0_0 0_o 10¦a.m. 10¦am 10¦p.m. 10¦pm 11¦a.m. 11¦am 11¦p.m. 11¦pm 12¦a.m. 12¦am 12¦p.m.
12¦pm 1¦a.m. 1¦am 1¦p.m. 1¦pm 2¦a.m. 2¦am 2¦p.m. 2¦pm 3¦a.m. 3¦am 3¦p.m. 3¦pm 4¦a.m. 4¦am 4¦p.m. 4¦pm 5¦a.m. 5¦am 5¦p.m. 5¦pm 6¦a.m. 6¦am
6¦p.m. 6¦pm 7¦a.m. 7¦am 7¦p.m. 7¦pm 8) 8-) 8-D 8D 8¦a.m. 8¦am 8¦p.m. 8¦pm 9¦a.m. 9¦am 9¦p.m. 9¦pm :'( :') :'-( :'-) :( :(( :((( :() :) :))
:))) :* :-( :-(( :-((( :-) :-)) :-))) :-* :-/ :-0 :-3 :-> :-D :-O :-P :-X :-] :-o :-p :-x :-| :-} :/ :0 :1 :3 :> :D :O :P :X :] :o :o) :p
:x :| :} ;) ;-) ;-D ;D ;_; <.< </3 <3 <33 <333 <space> =( =) =/ =3 =D =[ =] =| >.< >.> >:( >:o ><(((*> @_@ Adm. Ai¦n't Ai¦nt Ak. Ala. Apr.
Are¦n't Are¦nt Ariz. Ark. Aug. Bros. C'm¦on C++ Calif. Can¦not Ca¦n't Ca¦n't¦'ve Ca¦nt Ca¦nt¦ve Co. Colo. Conn. Corp. Could¦'ve Could¦n't
Could¦n't¦'ve Could¦nt Could¦nt¦ve Could¦ve D.C. Dare¦n't Dare¦nt Dec. Del. Did¦n't Did¦n't¦'ve Did¦nt Did¦nt¦ve Does¦n't Does¦n't¦'ve
Does¦nt Does¦nt¦ve Doin Doin' Do¦n't Do¦n't¦'ve Do¦nt Do¦nt¦ve Dr. E.G. E.g. Feb. Fla. Ga. Gen. Goin Goin' Gon¦na Got¦ta Gov. Had¦n't
Had¦n't¦'ve Had¦nt Had¦nt¦ve Has¦n't Has¦nt Have¦n't Have¦nt Havin Havin' He¦'d He¦'d¦'ve He¦'ll He¦'ll¦'ve He¦'s He¦d He¦d¦ve He¦ll¦ve
He¦s How¦'d How¦'d¦'ve How¦'d¦'y How¦'ll How¦'ll¦'ve How¦'re How¦'s How¦'ve How¦d How¦d¦ve How¦ll How¦ll¦ve How¦re How¦s How¦ve I.E. I.e.
Ia. Id. Ill. Inc. Ind. Is¦n't Is¦nt It¦'d It¦'d¦'ve It¦'ll It¦'ll¦'ve It¦'s It¦d It¦d¦ve It¦ll It¦ll¦ve I¦'d I¦'d¦'ve I¦'ll I¦'ll¦'ve I¦'m
I¦'m¦a I¦'ve I¦d I¦d¦ve I¦ll¦ve I¦m I¦m¦a I¦ve Jan. Jr. Jul. Jun. Kan. Kans. Ky. La. Let¦'s Lovin Lovin' Ltd. Ma'am Mar. Mass. May¦n't
May¦n't¦'ve May¦nt May¦nt¦ve Md. Messrs. Mich. Might¦'ve Might¦n't Might¦n't¦'ve Might¦nt Might¦nt¦ve Might¦ve Minn. Miss. Mo. Mont. Mr.
Mrs. Ms. Mt. Must¦'ve Must¦n't Must¦n't¦'ve Must¦nt Must¦nt¦ve Must¦ve N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Need¦n't Need¦n't¦'ve
Need¦nt Need¦nt¦ve Nev. Nothin Nothin' Not¦'ve Not¦ve Nov. Nuthin Nuthin' O'clock O.O O.o O_O O_o Oct. Okla. Ol Ol' Ore. Ought¦n't
Ought¦n't¦'ve Ought¦nt Ought¦nt¦ve Pa. Ph.D. Prof. Rep. Rev. S.C. Sen. Sep. Sept. Sha¦n't Sha¦n't¦'ve Sha¦nt Sha¦nt¦ve She¦'d She¦'d¦'ve
She¦'ll She¦'ll¦'ve She¦'s She¦d¦ve She¦ll¦ve She¦s Should¦'ve Should¦n't Should¦n't¦'ve Should¦nt Should¦nt¦ve Should¦ve Somethin
Somethin' St. Tenn. That¦'d That¦'d¦'ve That¦'ll That¦'ll¦'ve That¦'s That¦d That¦d¦ve That¦ll That¦ll¦ve That¦s There¦'d There¦'d¦'ve
There¦'ll There¦'ll¦'ve There¦'re There¦'s There¦'ve There¦d There¦d¦ve There¦ll There¦ll¦ve There¦re There¦s There¦ve These¦'d
These¦'d¦'ve These¦'ll These¦'ll¦'ve These¦'re These¦'ve These¦d These¦d¦ve These¦ll These¦ll¦ve These¦re These¦ve They¦'d They¦'d¦'ve
They¦'ll They¦'ll¦'ve They¦'re They¦'ve They¦d They¦d¦ve They¦ll They¦ll¦ve They¦re They¦ve This¦'d This¦'d¦'ve This¦'ll This¦'ll¦'ve
This¦'s This¦d This¦d¦ve This¦ll This¦ll¦ve This¦s Those¦'d Those¦'d¦'ve Those¦'ll Those¦'ll¦'ve Those¦'re Those¦'ve Those¦d Those¦d¦ve
Those¦ll Those¦ll¦ve Those¦re Those¦ve V.V V_V Va. Wash. Was¦n't Was¦nt Were¦n't Were¦nt We¦'d We¦'d¦'ve We¦'ll We¦'ll¦'ve We¦'re We¦'ve
We¦d We¦d¦ve We¦ll¦ve We¦ve What¦'d What¦'d¦'ve What¦'ll What¦'ll¦'ve What¦'re What¦'s What¦'ve What¦d What¦d¦ve What¦ll What¦ll¦ve
What¦re What¦s What¦ve When¦'d When¦'d¦'ve When¦'ll When¦'ll¦'ve When¦'re When¦'s When¦'ve When¦d When¦d¦ve When¦ll When¦ll¦ve When¦re
When¦s When¦ve Where¦'d Where¦'d¦'ve Where¦'ll Where¦'ll¦'ve Where¦'re Where¦'s Where¦'ve Where¦d Where¦d¦ve Where¦ll Where¦ll¦ve Where¦re
Where¦s Where¦ve Who¦'d Who¦'d¦'ve Who¦'ll Who¦'ll¦'ve Who¦'re Who¦'s Who¦'ve Who¦d Who¦d¦ve Who¦ll Who¦ll¦ve Who¦s Who¦ve Why¦'d
Why¦'d¦'ve Why¦'ll Why¦'ll¦'ve Why¦'re Why¦'s Why¦'ve Why¦d Why¦d¦ve Why¦ll Why¦ll¦ve Why¦re Why¦s Why¦ve Wis. Would¦'ve Would¦n't
Would¦n't¦'ve Would¦nt Would¦nt¦ve Would¦ve Wo¦n't Wo¦n't¦'ve Wo¦nt Wo¦nt¦ve XD XDD You¦'d You¦'d¦'ve You¦'ll You¦'ll¦'ve You¦'re You¦'ve
You¦d You¦d¦ve You¦ll You¦ll¦ve You¦re You¦ve [-: [: [= \\") \\n \\t ]= ^_^ ^__^ ^___^ a. a.m. ai¦n't ai¦nt and/or are¦n't are¦nt b. c'm¦on
c. can¦not ca¦n't ca¦n't¦'ve ca¦nt ca¦nt¦ve co. could¦'ve could¦n't could¦n't¦'ve could¦nt could¦nt¦ve could¦ve d. dare¦n't dare¦nt
did¦n't did¦n't¦'ve did¦nt did¦nt¦ve does¦n't does¦n't¦'ve does¦nt does¦nt¦ve doin doin' do¦n't do¦n't¦'ve do¦nt do¦nt¦ve e. e.g. em f. g.
goin goin' gon¦na got¦ta h. had¦n't had¦n't¦'ve had¦nt had¦nt¦ve has¦n't has¦nt have¦n't have¦nt havin havin' he¦'d he¦'d¦'ve he¦'ll
he¦'ll¦'ve he¦'s he¦d he¦d¦ve he¦ll¦ve he¦s how¦'d how¦'d¦'ve how¦'d¦'y how¦'ll how¦'ll¦'ve how¦'re how¦'s how¦'ve how¦d how¦d¦ve how¦ll
how¦ll¦ve how¦re how¦s how¦ve i. i.e. is¦n't is¦nt it¦'d it¦'d¦'ve it¦'ll it¦'ll¦'ve it¦'s it¦d it¦d¦ve it¦ll it¦ll¦ve i¦'d i¦'d¦'ve i¦'ll
i¦'ll¦'ve i¦'m i¦'m¦a i¦'ve i¦d i¦d¦ve i¦ll¦ve i¦m i¦m¦a i¦ve j. k. l. let¦'s ll lovin lovin' m. ma'am may¦n't may¦n't¦'ve may¦nt
may¦nt¦ve might¦'ve might¦n't might¦n't¦'ve might¦nt might¦nt¦ve might¦ve must¦'ve must¦n't must¦n't¦'ve must¦nt must¦nt¦ve must¦ve n.
need¦n't need¦n't¦'ve need¦nt need¦nt¦ve nothin nothin' not¦'ve not¦ve nuff nuthin nuthin' o'clock o. o.0 o.O o.o o_0 o_O o_o ol ol'
ought¦n't ought¦n't¦'ve ought¦nt ought¦nt¦ve p. p.m. q. r. s. sha¦n't sha¦n't¦'ve sha¦nt sha¦nt¦ve she¦'d she¦'d¦'ve she¦'ll she¦'ll¦'ve
she¦'s she¦d¦ve she¦ll¦ve she¦s should¦'ve should¦n't should¦n't¦'ve should¦nt should¦nt¦ve should¦ve somethin somethin' t. that¦'d
that¦'d¦'ve that¦'ll that¦'ll¦'ve that¦'s that¦d that¦d¦ve that¦ll that¦ll¦ve that¦s there¦'d there¦'d¦'ve there¦'ll there¦'ll¦'ve
there¦'re there¦'s there¦'ve there¦d there¦d¦ve there¦ll there¦ll¦ve there¦re there¦s there¦ve these¦'d these¦'d¦'ve these¦'ll
these¦'ll¦'ve these¦'re these¦'ve these¦d these¦d¦ve these¦ll these¦ll¦ve these¦re these¦ve they¦'d they¦'d¦'ve they¦'ll they¦'ll¦'ve
they¦'re they¦'ve they¦d they¦d¦ve they¦ll they¦ll¦ve they¦re they¦ve this¦'d this¦'d¦'ve this¦'ll this¦'ll¦'ve this¦'s this¦d this¦d¦ve
this¦ll this¦ll¦ve this¦s those¦'d those¦'d¦'ve those¦'ll those¦'ll¦'ve those¦'re those¦'ve those¦d those¦d¦ve those¦ll those¦ll¦ve
those¦re those¦ve u. v. v.s. v.v v_v vs. w. w/o was¦n't was¦nt were¦n't were¦nt we¦'d we¦'d¦'ve we¦'ll we¦'ll¦'ve we¦'re we¦'ve we¦d
we¦d¦ve we¦ll¦ve we¦ve what¦'d what¦'d¦'ve what¦'ll what¦'ll¦'ve what¦'re what¦'s what¦'ve what¦d what¦d¦ve what¦ll what¦ll¦ve what¦re
what¦s what¦ve when¦'d when¦'d¦'ve when¦'ll when¦'ll¦'ve when¦'re when¦'s when¦'ve when¦d when¦d¦ve when¦ll when¦ll¦ve when¦re when¦s
when¦ve where¦'d where¦'d¦'ve where¦'ll where¦'ll¦'ve where¦'re where¦'s where¦'ve where¦d where¦d¦ve where¦ll where¦ll¦ve where¦re
where¦s where¦ve who¦'d who¦'d¦'ve who¦'ll who¦'ll¦'ve who¦'re who¦'s who¦'ve who¦d who¦d¦ve who¦ll who¦ll¦ve who¦s who¦ve why¦'d
why¦'d¦'ve why¦'ll why¦'ll¦'ve why¦'re why¦'s why¦'ve why¦d why¦d¦ve why¦ll why¦ll¦ve why¦re why¦s why¦ve would¦'ve would¦n't
would¦n't¦'ve would¦nt would¦nt¦ve would¦ve wo¦n't wo¦n't¦'ve wo¦nt wo¦nt¦ve x. xD xDD y'¦all y. you¦'d you¦'d¦'ve you¦'ll you¦'ll¦'ve
you¦'re you¦'ve you¦d you¦d¦ve you¦ll you¦ll¦ve you¦re you¦ve y¦all z. ¯\\(ツ)/¯ °¦C¦. °¦F¦. °¦K¦. °¦c¦. °¦f¦. °¦k¦. ä. ö. ü. ಠ_ಠ ಠ︵ಠ — ‘S
‘s
"""

PATTERNS: Final = """
'¦' '¦Cause '¦Cos '¦Coz '¦Cuz '¦S '¦bout '¦cause '¦cos '¦coz '¦cuz '¦d '¦em '¦ll '¦nuff '¦re '¦s (¦*¦_¦*¦) (¦-8 (¦-_-¦) (¦-¦: (¦-¦;
(¦.¦_¦.¦) (¦: (¦; (¦= (¦>¦_¦<¦) (¦^_^¦) (¦o¦: (¦¬_¬¦) (¦ಠ_ಠ¦) (¦╯¦°¦□¦°¦）¦╯¦︵¦┻¦━¦┻ )¦-¦: )¦: .¦_¦. 10a.m¦. 10p.m¦. 11a.m¦. 11p.m¦.
12a.m¦. 12p.m¦. 1a.m¦. 1p.m¦. 2a.m¦. 2p.m¦. 3a.m¦. 3p.m¦. 4a.m¦. 4p.m¦. 5a.m¦. 5p.m¦. 6a.m¦. 6p.m¦. 7a.m¦. 7p.m¦. 8-¦) 8a.m¦. 8p.m¦. 8¦)
8¦-¦D 9a.m¦. 9p.m¦. :¦'¦( :¦'¦) :¦'¦-¦( :¦'¦-¦) :¦( :¦(¦( :¦(¦(¦( :¦(¦) :¦) :¦)¦) :¦)¦)¦) :¦* :¦-/ :¦-0 :¦-3 :¦-D :¦-O :¦-P :¦-X :¦-o :¦-p
:¦-x :¦-| :¦-¦( :¦-¦(¦( :¦-¦(¦(¦( :¦-¦) :¦-¦)¦) :¦-¦)¦)¦) :¦-¦* :¦-¦> :¦-¦] :¦-¦} :¦/ :¦0 :¦1 :¦3 :¦> :¦D :¦O :¦P :¦X :¦] :¦o :¦o¦) :¦p
:¦x :¦| :¦} ;¦) ;¦-D ;¦-¦) ;¦D ;¦_¦; <¦.¦< <¦/3 <¦3 <¦33 <¦333 <¦space¦> =¦( =¦) =¦/ =¦3 =¦D =¦[ =¦] =¦| >¦.¦< >¦.¦> >¦:¦( >¦:¦o
>¦<¦(¦(¦(¦*¦> Adm¦. Ak¦. Ala¦. Apr¦. Ariz¦. Ark¦. Aug¦. Bros¦. Calif¦. Colo¦. Conn¦. Corp¦. Co¦. Dec¦. Del¦. Doin¦' Dr¦. E.g¦. Feb¦. Fla¦.
Ga¦. Gen¦. Goin¦' Gov¦. Havin¦' He¦'s How¦'s I.e¦. Ia¦. Id¦. Ill¦. Inc¦. Ind¦. It¦'s Jan¦. Jr¦. Jul¦. Jun¦. Kans¦. Kan¦. Ky¦. La¦. Let¦'s
Lovin¦' Ltd¦. Mar¦. Mass¦. Md¦. Messrs¦. Mich¦. Minn¦. Miss¦. Mont¦. Mo¦. Mrs¦. Mr¦. Ms¦. Mt¦. Nebr¦. Neb¦. Nev¦. Nothin¦' Nov¦. Nuthin¦'
Oct¦. Okla¦. Ol¦' Ore¦. Pa¦. Ph¦.¦D. Prof¦. Rep¦. Rev¦. Sen¦. Sept¦. Sep¦. She¦'s Somethin¦' St¦. Tenn¦. That¦'s There¦'s This¦'s Va¦.
Wash¦. What¦'s When¦'s Where¦'s Who¦'s Why¦'s Wis¦. [¦-¦: [¦: [¦= \\¦"¦) ]¦= a.m¦. and¦/¦or a¦. b¦. co¦. c¦. doin¦' d¦. e.g¦. e¦. f¦.
goin¦' g¦. havin¦' he¦'s how¦'s h¦. i.e¦. it¦'s i¦. j¦. k¦. let¦'s lovin¦' l¦. m¦. nothin¦' nuthin¦' n¦. ol¦' o¦. o¦.¦O p.m¦. p¦. q¦. r¦.
she¦'s somethin¦' s¦. that¦'s there¦'s this¦'s t¦. u¦. v.s¦. vs¦. v¦. what¦'s when¦'s where¦'s who¦'s why¦'s w¦. w¦/¦o x¦. y¦. z¦. °¦C.
°¦F. °¦K. °¦c¦. °¦f¦. °¦k¦. ä¦. ö¦. ü¦. ‘¦S ‘¦s
"""
